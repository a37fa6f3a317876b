"""The built binary with its run-time API, the `bao` command line beside it, and the systems that logins are made at."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent / "lib")]

from installation import binary, folder, free_port, openbao, with_parent
from systems import ADMINISTRATOR, Keys, Mariadb, Psql, Rabbitmq, Redis

RIGHTS = {"/": {"configure": "^$", "write": ".*", "read": ".*"}}
PG = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
MYSQL = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT ON shop.* TO '{{name}}'@'%'"


class Product:
    """A server that can be killed and goes on with what it has stored."""

    def __init__(self):
        self.dir = folder()
        ports = [free_port() for _ in range(3)]
        self.control = f"http://127.0.0.1:{ports[1]}"
        self.address = f"http://127.0.0.1:{ports[2]}"
        self.command = [
            binary(), "server", "--data-dir", str(self.dir / "data"), "--gateway", f"127.0.0.1:{ports[0]}",
            "--control", f"127.0.0.1:{ports[1]}", f"--vault=127.0.0.1:{ports[2]}", "--private-hosts=127.0.0.1",
            "--workers", "1", "--log", "warn",
        ]
        self.token, self.key, self.bao = "", "", openbao()
        self.start()
        made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})[1]
        self.token, self.key, self.administrator = made["root_token"], made["keys"][0], made["admin_token"]
        self.unseal()

    def start(self):
        with open(self.dir / "output", "ab") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=output, preexec_fn=with_parent)
        for _ in range(1200):
            try:
                self.ask("GET", "sys/seal-status")
                break
            except OSError:
                time.sleep(0.05)
        if self.key:
            self.unseal()

    def unseal(self):
        self.ask("PUT", "sys/unseal", {"key": self.key})
        for _ in range(1200):
            if self.ask("GET", "sys/health")[0] == 200:
                return
            time.sleep(0.05)
        raise AssertionError("the vault does not open")

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def ask(self, method, path, body=None, token=None):
        data = json.dumps(body).encode() if body is not None else None
        headers = {"X-Vault-Token": token or self.token, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/v1/{path}", method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            status, text = refused.code, refused.read()
        return status, json.loads(text) if text.strip() else None

    def own(self, *words, code=0):
        """What our own command line answers."""
        environment = {
            **os.environ, "CREDENTIALFLOW_SERVER": self.control, "CREDENTIALFLOW_TOKEN": self.administrator,
        }
        ran = subprocess.run(
            [binary(), *words, "--output", "json"], env=environment, capture_output=True, text=True, timeout=180,
        )
        assert ran.returncode == code, f"{' '.join(words)}: {ran.returncode} {(ran.stdout + ran.stderr)[-400:]}"
        return json.loads(ran.stdout or ran.stderr)

    def call(self, *words, token=None, fails=False):
        """What the `bao` command line prints."""
        environment = {**os.environ, "HOME": str(self.dir), "BAO_ADDR": self.address, "BAO_TOKEN": token or self.token}
        ran = subprocess.run([self.bao, *words], env=environment, capture_output=True, text=True, timeout=180)
        told = (ran.stdout + ran.stderr).strip()
        assert (ran.returncode != 0) == fails, f"bao {' '.join(words)}: {told[-400:]}"
        return told

    def login(self, path, token=None):
        """A fresh login: lease, name, password."""
        told = self.call("read", path, token=token)
        return tuple(re.search(rf"^{name}\s+(\S+)", told, re.M)[1] for name in ("lease_id", "username", "password"))

    def static(self, path):
        told = self.call("read", path)
        return tuple(re.search(rf"^{name}\s+(\S+)", told, re.M)[1] for name in ("username", "password"))


class World:
    """Everything, configured: `systems` by name."""

    def __init__(self, names=("postgresql", "mysql", "redis", "rabbitmq", "api")):
        makers = {"postgresql": Psql, "mysql": Mariadb, "redis": Redis, "rabbitmq": Rabbitmq, "api": Keys}
        self.systems = {name: makers[name]() for name in names}
        self.product = Product()
        self.product.call("secrets", "enable", "database")
        for name in names:
            getattr(self, name)(self.systems[name])
            self.role(name, name, "1h")

    def config(self, name, plugin, **fields):
        body = {"plugin_name": f"{plugin}-database-plugin", "allowed_roles": "*", "password": ADMINISTRATOR, **fields}
        status, told = self.product.ask("POST", f"database/config/{name}", body)
        assert status == 204, told

    def role(self, role, name, ttl):
        creation = {
            "postgresql": PG, "mysql": MYSQL, "redis": json.dumps(["~cache:*", "+ping", "+get", "+set"]),
            "rabbitmq": json.dumps({"tags": "monitoring", "vhosts": RIGHTS}), "api": "",
        }[name]
        body = {"db_name": name, "creation_statements": creation, "default_ttl": ttl, "max_ttl": "2h"}
        status, told = self.product.ask("POST", f"database/roles/{role}", body)
        assert status == 204, told

    def postgresql(self, server):
        url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{server.port}/postgres?sslmode=disable"
        self.config("postgresql", "postgresql", connection_url=url, username="admin")

    def mysql(self, server):
        url = f"{{{{username}}}}:{{{{password}}}}@tcp(127.0.0.1:{server.port})/"
        self.config("mysql", "mysql", connection_url=url, username="admin")

    def redis(self, server):
        fields = {"host": "127.0.0.1", "port": server.port, "username": "default", "persistence_mode": "ACLFILE"}
        self.config("redis", "redis", **fields)

    def rabbitmq(self, server):
        uri = f"http://127.0.0.1:{server.port}"
        self.config("rabbitmq", "rabbitmq", connection_uri=uri, username="guest", password="guest")

    def api(self, server):
        self.config("api", "http", description=server.description)
