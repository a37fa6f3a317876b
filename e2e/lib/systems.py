"""Throwaway MariaDB, Redis and RabbitMQ servers, and an API that keeps keys; each is looked at with its own client."""

import atexit
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from checks import PATIENCE, eventually
from installation import free_port, with_parent
from postgres import BINARIES, Postgres

ADMINISTRATOR = "administrators-own-password"


def done(*command, environment=None):
    """What a client printed; None when it failed."""
    ran = subprocess.run(
        [str(word) for word in command], env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )
    return ran.stdout.strip() if ran.returncode == 0 else None


def of_its_own():
    """A process group of its own, that does not outlive the suite."""
    os.setsid()
    with_parent()


class Server:
    """A program with a directory of its own."""

    def __init__(self, name):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"credentialflow-e2e-{name}-"))
        self.processes = []
        atexit.register(self.remove)

    def run(self, *command, environment=None):
        with open(self.dir / "log", "ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                preexec_fn=of_its_own, env={**os.environ, **(environment or {})},
            )
        self.processes.append(process)

    def ready(self, test, seconds=60):
        end = time.monotonic() + seconds * PATIENCE
        while not test():
            assert time.monotonic() < end, (self.dir / "log").read_text()[-1000:]
            time.sleep(0.1)

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
        self.processes = []

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Mariadb(Server):
    """With an administrator `admin` and a database `shop`."""

    def __init__(self):
        super().__init__("mariadb")
        self.port = free_port()
        user = ["--user=root"] if os.geteuid() == 0 else []
        # A starting server removes the temporary tables of every other one that shares the directory.
        self.temporary = self.dir / "tmp"
        self.temporary.mkdir()
        made = ["mariadb-install-db", "--no-defaults", f"--datadir={self.dir / 'data'}", "--skip-test-db", *user]
        made += ["--auth-root-authentication-method=normal"]
        where = {"TMPDIR": str(self.temporary)}
        assert done(*made, environment=where) is not None, "mariadb-install-db failed; it comes with mariadb-server"
        self.start()
        self.as_root(
            f"CREATE USER admin@'%' IDENTIFIED BY '{ADMINISTRATOR}'; "
            "GRANT ALL ON *.* TO admin@'%' WITH GRANT OPTION; CREATE DATABASE shop"
        )

    def start(self):
        user = ["--user=root"] if os.geteuid() == 0 else []
        self.run(
            "mariadbd", "--no-defaults", *user, f"--datadir={self.dir / 'data'}", f"--socket={self.dir / 'socket'}",
            f"--pid-file={self.dir / 'pid'}", f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve",
            "--skip-log-bin", "--innodb-buffer-pool-size=16M", "--performance-schema=OFF", f"--tmpdir={self.temporary}",
        )
        self.ready(lambda: self.as_root("SELECT 1") is not None)

    def as_root(self, statements):
        return done("mariadb", "--no-defaults", "-u", "root", "-N", "-B", f"--socket={self.dir / 'socket'}", "-e", statements)

    def lets_in(self, username, password):
        return done(
            "mariadb", "--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", self.port, "-u", username, "-e", "SELECT 1",
            environment={"MYSQL_PWD": password},
        ) is not None

    def logins(self):
        return (self.as_root("SELECT User FROM mysql.user") or "").split()


class Redis(Server):
    """With the administrator `default`."""

    def __init__(self):
        super().__init__("redis")
        self.port = free_port()
        (self.dir / "users.acl").write_text(f"user default on >{ADMINISTRATOR} ~* &* +@all\n")
        self.start()

    def start(self):
        self.run(
            "redis-server", "--bind", "127.0.0.1", "--port", self.port, "--save", "", "--appendonly", "no",
            "--dir", self.dir, "--aclfile", self.dir / "users.acl",
        )
        port = ["redis-cli", "-p", self.port]
        self.ready(lambda: "NOAUTH" in (done(*port, "PING") or "") or done(*port, "PING") == "PONG")

    def cli(self, username, password, *words):
        return done(
            "redis-cli", "-h", "127.0.0.1", "-p", self.port, "-e", "--no-auth-warning", "--user", username, *words,
            environment={"REDISCLI_AUTH": password},
        )

    def lets_in(self, username, password):
        return self.cli(username, password, "PING") == "PONG"

    def logins(self):
        """As its file has them, whoever the administrator is now."""
        return [line.split()[1] for line in (self.dir / "users.acl").read_text().splitlines() if line]


class Rabbitmq(Server):
    """With the administrator `guest`. Erlang's port mapper is one of its own, so that nothing is left behind."""

    PROGRAMS = pathlib.Path("/usr/lib/rabbitmq/bin")

    def __init__(self):
        super().__init__("rabbitmq")
        assert (self.PROGRAMS / "rabbitmq-server").exists(), "rabbitmq-server is not installed"
        self.port, self.amqp, distribution, self.mapper = (free_port() for _ in range(4))
        (self.dir / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (self.dir / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.port}\n"
        )
        self.environment = {
            "HOME": str(self.dir), "LC_ALL": "C.UTF-8", "RABBITMQ_LOGS": "-",
            "RABBITMQ_NODENAME": f"credentialflow{self.amqp}@localhost", "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(self.dir / "mnesia"), "RABBITMQ_LOG_BASE": str(self.dir / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.dir / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.dir / "rabbitmq"), "RABBITMQ_CONF_ENV_FILE": str(self.dir / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
            "ERL_EPMD_PORT": str(self.mapper), "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self.start()

    def start(self):
        self.run("epmd", "-port", self.mapper, "-address", "127.0.0.1")
        self.run(self.PROGRAMS / "rabbitmq-server", environment=self.environment)
        self.ready(lambda: self.lets_in("guest", "guest"), 90)

    def curl(self, username, password, path):
        url = f"http://127.0.0.1:{self.port}/api/{path}"
        # The password goes in by standard input, as it should.
        ran = subprocess.run(
            ["curl", "-s", "-f", "-K", "-", url], input=f'user = "{username}:{password}"\n', capture_output=True,
            text=True, timeout=60,
        )
        return ran.stdout if ran.returncode == 0 else None

    def lets_in(self, username, password):
        return self.curl(username, password, "whoami") is not None

    def logins(self):
        return [user["name"] for user in json.loads(self.curl("guest", "guest", "users") or "[]")]


class Keys:
    """An API that makes keys under ids of its own, as model providers do."""

    def __init__(self):
        self.keys, self.made, self.lock = {}, 0, threading.Lock()
        keeper = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
                with keeper.lock:
                    status, told = keeper.answer(self.command, self.path, token, body)
                text = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # Callers that are killed hang up.
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, method, path, token, body):
        if path == "/whoami":
            known = any(key == token for _, key in self.keys.values())
            return (200, {}) if known else (401, {})
        if token != ADMINISTRATOR:
            return 403, {}
        if method == "POST":
            self.made += 1
            name, key = json.loads(body)["name"], f"key-{self.made}-made-by-the-provider"
            self.keys[f"id-{self.made}"] = (name, key)
            return 201, {"id": f"id-{self.made}", "secret": key}
        if method == "GET":
            return 200, [{"id": i, "name": name} for i, (name, _) in self.keys.items()]
        return (204, {}) if self.keys.pop(path.rsplit("/", 1)[1], None) else (404, {})

    @property
    def description(self):
        return {
            "base_url": f"http://127.0.0.1:{self.port}",
            "headers": {"authorization": "Bearer {{admin}}"},
            "create": {"method": "POST", "path": "/keys", "json": {"name": "{{name}}"}, "expect": [201]},
            "take": {"handle": "/id", "password": "/secret"},
            "delete": {"method": "DELETE", "path": "/keys/{{handle}}"},
            "list": {"method": "GET", "path": "/keys", "name": "/name", "handle": "/id"},
        }

    def lets_in(self, _, password):
        ran = subprocess.run(
            ["curl", "-s", "-f", "-K", "-", f"http://127.0.0.1:{self.port}/whoami"],
            input=f'header = "authorization: Bearer {password}"\n', capture_output=True, text=True, timeout=60,
        )
        return ran.returncode == 0

    def logins(self):
        with self.lock:
            return [name for name, _ in self.keys.values()]


class Psql(Postgres):
    """PostgreSQL with an administrator `admin`; everybody else needs a password."""

    def __init__(self):
        super().__init__()
        self.sql(f"CREATE ROLE admin SUPERUSER LOGIN PASSWORD '{ADMINISTRATOR}'")
        rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.dir / "data/pg_hba.conf").write_text(rules)
        self.sql("SELECT pg_reload_conf()")
        # The server is only told to read it.
        eventually(lambda: not self.lets_in("admin", "wrong"), "PostgreSQL asks for no password", 20)

    def sql(self, statement, user="postgres", password=""):
        return done(
            BINARIES / "psql", "-h", "127.0.0.1", "-p", self.port, "-U", user, "-d", "postgres", "-X", "-q", "-t", "-A",
            "-v", "ON_ERROR_STOP=1", "-c", statement, environment={"PGPASSWORD": password},
        )

    def lets_in(self, username, password):
        return self.sql("SELECT 1", username, password) == "1"

    def logins(self):
        return (self.sql("SELECT rolname FROM pg_roles WHERE rolcanlogin") or "").split()
