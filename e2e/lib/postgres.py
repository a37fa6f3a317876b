"""A throwaway PostgreSQL 15 server that can be stopped and started again. Ends with the suite."""

import atexit
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from checks import PATIENCE
from installation import free_port, with_parent

BINARIES = pathlib.Path("/usr/lib/postgresql/15/bin")


def _as_postgres():
    """PostgreSQL refuses to run as root."""
    return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}


class Postgres:
    """One cluster on a free loopback port."""

    def __init__(self):
        assert (BINARIES / "postgres").exists(), (
            "PostgreSQL 15 is not installed; install it with: apt-get install --no-install-recommends postgresql-15"
        )
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="credentialflow-e2e-postgres-"))
        if os.geteuid() == 0:
            shutil.chown(self.dir, "postgres", "postgres")
        self.port = free_port()
        self.process = None
        atexit.register(self.remove)
        flags = "--auth=trust --username=postgres --encoding=UTF8 --no-locale --no-sync --no-instructions"
        command = [BINARIES / "initdb", "-D", self.dir / "data", *flags.split()]
        subprocess.run(command, check=True, capture_output=True, cwd=self.dir, **_as_postgres())
        self.start()

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def start(self):
        settings = "listen_addresses=127.0.0.1 unix_socket_directories= fsync=off shared_buffers=32MB".split(" ")
        command = [BINARIES / "postgres", "-D", self.dir / "data", "-p", str(self.port)]
        for setting in settings:
            command += ["-c", setting]
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.dir, preexec_fn=with_parent, **_as_postgres()
            )
        ready = [BINARIES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        end = time.monotonic() + 30 * PATIENCE
        while subprocess.run(ready).returncode != 0:
            assert time.monotonic() < end, (self.dir / "log").read_text()[-1000:]
            time.sleep(0.05)

    def stop(self):
        """A fast shutdown: running transactions are rolled back, connections are cut."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30 * PATIENCE)
        self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
