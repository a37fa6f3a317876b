"""The upstream of measurements: an nginx with one worker that answers 1 KiB to everything."""

import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "e2e/lib")]

from installation import folder, free_port, with_parent


def start():
    """Starts it; the process and its port."""
    place, port = folder(), free_port()
    (place / "nginx.conf").write_text(
        f"daemon off; pid {place}/pid; error_log {place}/error; worker_processes 1; events {{ worker_connections 1024; }}\n"
        f"http {{ access_log off; keepalive_requests 1000000000; server {{ listen 127.0.0.1:{port} reuseport;"
        f" location / {{ return 200 '{'x' * 1024}'; }} }} }}\n"
    )
    command = ["nginx", "-c", place / "nginx.conf", "-p", place]
    return subprocess.Popen(command, preexec_fn=with_parent, stderr=subprocess.DEVNULL), port
