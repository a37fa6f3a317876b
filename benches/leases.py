#!/usr/bin/env python3
"""What a million live leases cost: the start, memory, one deed of each kind, a thousand revoked by their prefix, and ten
thousand that end at the same moment while others are issued.

The leases are copies of real ones, sealed and written by the product's code (the ignored test
`leases_are_copied_for_a_measurement` of `credentialflow-secrets`, built on the way). Their logins lie in a Redis server of
its own: those that end here are really there before, and gone after. `cargo xtask bench leases` runs this with the
shipped binary. `--leases N --group N --wave N --watch SECONDS --profile NAME`. Needs redis-server.
"""

import argparse
import http.client
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "e2e/lib")]

from installation import ROOT, Installation, free_port
from systems import ADMINISTRATOR, Redis

RIGHTS = json.dumps(["~cache:*", "+ping", "+get", "+set"])


class Client:
    """One kept connection to the run-time API."""

    def __init__(self, address, token):
        self.connection = http.client.HTTPConnection(address, timeout=600)
        self.token = token

    def ask(self, method, path, body=None):
        """The answer, and how long it took in milliseconds."""
        began = time.perf_counter()
        data = json.dumps(body) if body is not None else None
        self.connection.request(method, f"/v1/{path}", data, {"x-vault-token": self.token})
        answer = self.connection.getresponse()
        text = answer.read()
        took = (time.perf_counter() - began) * 1000
        assert answer.status < 300, f"{method} {path}: {answer.status} {text[:300]!r}"
        return json.loads(text) if text else None, took


def quantile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def told(what, values):
    """One line of milliseconds."""
    print(f"{what}: p50 {quantile(values, 0.5):.1f}, p99 {quantile(values, 0.99):.1f}, max {max(values):.1f} ms")


def resident():
    return made.rss() / (1 << 20)


def cpu():
    """Seconds of processor time so far."""
    fields = open(f"/proc/{made.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start():
    """Starts the server: a connection to it, and how long the start took. What only the start needed is given back."""
    began = time.monotonic()
    made.start("--workers", "1", log="warn", limit=120)
    took = time.monotonic() - began
    client = Client(address, token)
    time.sleep(3)
    return client, took


def watch(seconds):
    """Leaves it alone; its greatest weight meanwhile, and its share of one processor."""
    before, most, end = cpu(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        most = max(most, resident())
        time.sleep(0.25)
    return most, (cpu() - before) / seconds


def one_of_each(client, times):
    """A lease issued, looked up, renewed and revoked, some times over."""
    took = {"issue": [], "lookup": [], "renew": [], "revoke": []}
    for _ in range(times):
        lease, ms = client.ask("GET", "database/creds/live")
        took["issue"].append(ms)
        id = {"lease_id": lease["lease_id"]}
        took["lookup"].append(client.ask("PUT", "sys/leases/lookup", id)[1])
        took["renew"].append(client.ask("PUT", "sys/leases/renew", id)[1])
        took["revoke"].append(client.ask("PUT", "sys/leases/revoke", id | {"sync": True})[1])
    for what, values in took.items():
        told(f"one {what}", values)


def fill(wanted):
    """Writes that many leases of each role beside the real one."""
    environment = {
        **os.environ,
        "LEASES_DATABASE": str(database),
        "LEASES_KEY_FILE": str(made.key_file),
        "LEASES_WANTED": ",".join(f"{role}={count}" for role, count in wanted.items()),
    }
    command = ["cargo", "test", "--quiet", "--locked", "--profile", arguments.profile, "-p", "credentialflow-secrets", "--lib"]
    command += ["leases_are_copied_for_a_measurement", "--", "--ignored"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


def logins(name, count):
    """Makes the users that copies of a lease stand for."""
    lines = [f"AUTH default {ADMINISTRATOR}"] + [f"ACL SETUSER {name}-{n} on >password ~cache:* +ping" for n in range(count)]
    text = "".join(line + "\r\n" for line in lines).encode()
    subprocess.run(["redis-cli", "-p", str(redis.port), "--pipe"], input=text, check=True, stdout=subprocess.DEVNULL)


def users():
    """How many users Redis has."""
    return len(redis.cli("default", ADMINISTRATOR, "ACL", "USERS").splitlines())


def left(role):
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60) as db:
        range_ = (f"database/creds/{role}/", f"database/creds/{role}0")
        return db.execute("SELECT COUNT(*) FROM leases WHERE id > ? AND id < ?", range_).fetchone()[0]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--leases", type=int, default=1_000_000)
parser.add_argument("--group", type=int, default=1000)
parser.add_argument("--wave", type=int, default=10_000)
parser.add_argument("--watch", type=int, default=60)
parser.add_argument("--profile", default="quick", help="what the code that writes the leases is built with")
arguments = parser.parse_args()

redis = Redis()
address = f"127.0.0.1:{free_port()}"
made = Installation("leases", env={"CREDENTIALFLOW_VAULT": address}).init()
database = made.data / "credentialflow.db"
made.start("--workers", "1", log="warn")
token = made.json("operator", "root-token", "--ttl", "1d", keep=False)["token"]
made.stop()
client, took = start()
print(f"with no lease: start {took:.2f} s, {resident():.0f} MiB")
client.ask("POST", "sys/mounts/database", {"type": "database"})
client.ask("POST", "sys/mounts/database/tune", {"max_lease_ttl": "1000h"})
config = {"plugin_name": "redis-database-plugin", "allowed_roles": "*", "host": "127.0.0.1", "port": redis.port}
client.ask("POST", "database/config/redis", config | {"username": "default", "password": ADMINISTRATOR})
names = {}
for role in ("live", "long", "group", "wave"):
    fields = {"db_name": "redis", "creation_statements": RIGHTS, "default_ttl": "900h", "max_ttl": "1000h"}
    client.ask("POST", f"database/roles/{role}", fields)
    if role != "live":
        names[role] = client.ask("GET", f"database/creds/{role}")[0]["data"]["username"]
one_of_each(client, 50)
made.stop()

rest = arguments.leases - arguments.group - arguments.wave
fill({"long": rest, "group": arguments.group, "wave": arguments.wave})
logins(names["group"], arguments.group)
logins(names["wave"], arguments.wave)
with sqlite3.connect(database) as db:
    print(f"{db.execute('SELECT COUNT(*) FROM leases').fetchone()[0]} leases, {database.stat().st_size >> 20} MiB of database")

client, took = start()
print(f"start {took:.2f} s, {resident():.0f} MiB")
most, share = watch(arguments.watch)
print(f"left alone for {arguments.watch} s: at most {most:.0f} MiB, {share * 100:.1f} % of a processor")
one_of_each(client, 50)

before = users()
_, ms = client.ask("PUT", "sys/leases/revoke-prefix/database/creds/group", {"sync": True})
assert left("group") == 0, left("group")
print(f"{arguments.group} revoked by their prefix: {ms / 1000:.2f} s; {before - users()} logins gone")

with sqlite3.connect(database, timeout=60) as db:
    due = int((time.time() + 1) * 1e6)
    db.execute(
        "UPDATE leases SET expires_at = ?, next_attempt = ? WHERE id > 'database/creds/wave/' AND id < 'database/creds/wave0'",
        (due, due),
    )
before, began, meanwhile, most = users(), due / 1e6, [], 0
time.sleep(max(0, began - time.time()))
while left("wave"):
    meanwhile.append(client.ask("GET", "database/creds/live")[1])
    most = max(most, resident())
    assert time.time() < began + 1800, f"{left('wave')} are left"
    time.sleep(0.1)
took = time.time() - began
gone = before + len(meanwhile) - users()
print(f"{arguments.wave} ended at the same moment: withdrawn in {took:.1f} s, {gone} logins gone; at most {most:.0f} MiB")
told("one issue meanwhile", meanwhile)
made.stop()
