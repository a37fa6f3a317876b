#!/usr/bin/env python3
"""A program that stands in for `vault`, for suites that start servers by that name.

`vault -version` names the version whose API is spoken; `vault server -config=FILE.json` starts the built binary with
that file's one TCP listener and TLS files, on a database of its own in a temporary folder, not initialised. It ends
with its parent, and what it started ends with it.
"""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile


sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "lib")]

from installation import free_port


def main(words):
    if words[:1] in (["-version"], ["version"], ["--version"]):
        print("Vault v1.14.8 (a stand-in that starts Credentialflow)")
        return 0
    if words[:1] != ["server"]:
        print(f"this stand-in knows `server` and `-version`, not {words[:1]}", file=sys.stderr)
        return 2
    path = next(w.split("=", 1)[1] for w in words if w.lstrip("-").startswith("config="))
    listener = json.loads(pathlib.Path(path).read_text())["listener"]
    listener = (listener[0] if isinstance(listener, list) else listener)["tcp"]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="credentialflow-vault-", dir=os.environ.get("E2E_TMP") or None))
    command = [
        os.environ["CREDENTIALFLOW_BIN"], "server", "--data-dir", str(folder),
        "--gateway", f"127.0.0.1:{free_port()}", "--control", f"127.0.0.1:{free_port()}",
        f"--vault={listener['address']}", "--workers", "1", "--log", "warn",
        # The suites' identity providers are on this machine.
        "--private-hosts=127.0.0.1,localhost",
    ]
    if not listener.get("tls_disable"):
        command += ["--vault-tls-certificate", listener["tls_cert_file"], "--vault-tls-key", listener["tls_key_file"]]
    # Killed from outside, this process must not leave the server behind.
    prctl = ctypes.CDLL(None).prctl
    prctl(1, signal.SIGTERM)
    server = subprocess.Popen(command, preexec_fn=lambda: prctl(1, signal.SIGKILL))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.terminate())
    try:
        return server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
