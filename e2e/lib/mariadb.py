"""A throwaway MariaDB server on a free loopback port. Ends with the suite."""

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

ADMIN = ("admin", "admin-password")


class Mariadb:
    """One server, with an administrator and a database `shop`."""

    def __init__(self):
        assert shutil.which("mariadb-install-db"), (
            "MariaDB is not installed; install it with: apt-get install --no-install-recommends mariadb-server"
        )
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="credentialflow-e2e-mariadb-"))
        self.port = free_port()
        self.socket = self.dir / "socket"
        self.process = None
        atexit.register(self.remove)
        user = ["--user=root"] if os.geteuid() == 0 else []
        make = ["mariadb-install-db", "--no-defaults", f"--datadir={self.dir / 'data'}", *user]
        make += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        # A starting server removes the temporary tables of every other one that shares the directory.
        temporary = self.dir / "tmp"
        temporary.mkdir()
        subprocess.run(make, check=True, capture_output=True, env={**os.environ, "TMPDIR": str(temporary)})
        command = [shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults", *user]
        command += ["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin", "--performance-schema=OFF"]
        command += ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", f"--port={self.port}"]
        command += [f"--datadir={self.dir / 'data'}", f"--socket={self.socket}", f"--pid-file={self.dir / 'pid'}"]
        command += [f"--tmpdir={temporary}"]
        with open(self.dir / "log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=with_parent)
        end = time.monotonic() + 30 * PATIENCE
        while self.sql("SELECT 1") is None:
            assert time.monotonic() < end, (self.dir / "log").read_text()[-1000:]
            time.sleep(0.1)
        name, password = ADMIN
        made = self.sql(
            f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}';"
            f"GRANT ALL ON *.* TO '{name}'@'%' WITH GRANT OPTION; CREATE DATABASE shop"
        )
        assert made is not None, "the administrator cannot be made"

    def sql(self, statement):
        """Runs statements as root; None when the server refuses."""
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-u", "root", "-N", "-B", "-e", statement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else None

    def lets_in(self, username, password):
        """Whether a login is let in, as its own client finds out."""
        command = ["mariadb", "--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", str(self.port)]
        command += ["-u", username, "-N", "-B", "-e", "SELECT 1"]
        env = {**os.environ, "MYSQL_PWD": password}
        return subprocess.run(command, env=env, capture_output=True, timeout=60).returncode == 0

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(60)
        shutil.rmtree(self.dir, ignore_errors=True)
