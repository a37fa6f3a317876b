#!/usr/bin/env python3
"""What a million keys cost a request: two servers side by side, one with one key and one with a million.

Both get the same load from the same script, keys drawn at random; the rounds take turns, so that whatever else the
machine does falls on both. CPU of the whole process over the whole time, from /proc: also what is written between the
rounds about them. Needs nginx and wrk.

The keys are written into the database as a million creations would leave it, but with one secret, so that the keyed
hash can be copied: `cargo xtask bench keys` runs this with the shipped binary. `--keys N --rounds N --seconds N`.
"""

import argparse
import os
import pathlib
import random
import re
import sqlite3
import subprocess
import sys
import time
import zlib

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "e2e/lib")]

import fixed
from installation import Installation

ID = "0123456789abcdefghjkmnpqrstvwxyz"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CONFIGURATION = """
credentials: [{{ name: token, engine: generated }}]
upstreams: [{{ name: fixed, endpoints: ["http://127.0.0.1:{port}"], inject: {{ bearer: token }} }}]
routes:
  - name: fixed
    match: {{ path: /* }}
    upstream: fixed
    authenticate: [api_key]
    limit: {{ requests: 1000000, per: 1s, by: key }}
applications: [{{ name: app, allow: {{ routes: [fixed] }} }}]
"""
SCRIPT = """
local keys, n = {}, 0
for line in io.lines("%s") do n = n + 1; keys[n] = line end
math.randomseed(7)
local before = "GET /item HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: Bearer "
request = function() return before .. keys[math.random(n)] .. "\\r\\n\\r\\n" end
"""


def token(bits, secret):
    """The key with this id and secret."""
    name = "".join(ID[bits >> 5 * (11 - i) & 31] for i in range(12))
    text = f"cfk_live_{name}_{secret}"
    check, rest = "", zlib.crc32(text.encode())
    for _ in range(6):
        check, rest = BASE62[rest % 62] + check, rest // 62
    return text + check


def fill(database, count, secret):
    """Writes `count` keys beside the one there is; returns the ids."""
    with sqlite3.connect(database) as db:
        (application, created), (digest, pepper) = (
            db.execute("SELECT application, created FROM keys").fetchone(),
            db.execute("SELECT hash, pepper_id FROM key_secrets").fetchone(),
        )
        body = db.execute("SELECT body, revision FROM resources WHERE kind = 'keys'").fetchone()
        ids = random.Random(1).sample(range(1 << 60), count)
        db.executemany(
            "INSERT INTO keys (id, name, application, created) VALUES (?,?,?,?)",
            ((i, f"k{i}", application, created) for i in ids),
        )
        db.executemany(
            "INSERT INTO key_secrets (key_id, version, state, hash, pepper_id, created) VALUES (?,1,'current',?,?,?)",
            ((i, digest, pepper, created) for i in ids),
        )
        db.executemany(
            "INSERT INTO resources VALUES ('keys',?,?,?,?,?)",
            ((f"k{i}", body[0].replace('"name":"k"', f'"name":"k{i}"'), body[1], created, created) for i in ids),
        )
    return ids


def server(name, port, count):
    """A server with this many keys, and the file its load draws keys from."""
    made = Installation(name).init().start("--workers", "1", log="error")
    made.api.apply(CONFIGURATION.format(port=port), {})
    first = made.api.issue("k", "app")[1]
    keys = [first]
    if count > 1:
        made.stop()
        secret = first.split("_")[3][:32]
        ids = fill(made.data / "credentialflow.db", count, secret)
        keys = [token(i, secret) for i in ids[: arguments.active]]
        for copy in (made.data / "copy").glob("*"):
            copy.unlink()
        began = time.monotonic()
        made.start("--workers", "1", log="error", limit=120).stop()
        first_start = time.monotonic() - began
        began = time.monotonic()
        made.start("--workers", "1", log="error", limit=120)
        print(f"start with {count} keys: {first_start:.1f} s from the database (and stop), {time.monotonic() - began:.2f} s from the copy")
    # Both loads draw from a list of the same length, so that they cost the same.
    listed = made.dir / "keys"
    listed.touch(0o600)
    with open(listed, "w") as out:
        out.writelines(f"{keys[i % len(keys)]}\n" for i in range(arguments.keys))
    script = made.dir / "load.lua"
    script.write_text(SCRIPT % listed)
    made.script = script
    return made


def cpu(pid):
    """User and system seconds so far."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return [int(fields[11]) / ticks, int(fields[12]) / ticks]


def memory(pid):
    """Resident KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])


def load(made):
    """One round; how many requests were answered."""
    url = "http://%s:%d/item" % made.gateway_address
    command = ["wrk", "-t1", "-c32", f"-d{arguments.seconds}s", "-s", str(made.script), url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in told, told
    return int(re.search(r"(\d+) requests in", told)[1])


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--keys", type=int, default=1_000_000)
parser.add_argument("--active", type=int)
parser.add_argument("--rounds", type=int, default=10)
parser.add_argument("--seconds", type=int, default=3)
arguments = parser.parse_args()

upstream, port = fixed.start()
servers = [server("one", port, 1), server("many", port, arguments.keys)]
# The allocator gives back what the start has freed a second or a few later.
time.sleep(6)
weights = [memory(s.process.pid) for s in servers]
begun = [cpu(s.process.pid) for s in servers]
requests = [0, 0]
for n in range(arguments.rounds):
    for i in (0, 1) if n % 2 == 0 else (1, 0):
        requests[i] += load(servers[i])
print("| keys | CPU us/request | user | system | memory before the load, MiB |\n|---:|---:|---:|---:|---:|")
costs = []
for count, made, before, answered, weight in zip((1, arguments.keys), servers, begun, requests, weights):
    user, system = ((now - then) / answered * 1e6 for then, now in zip(before, cpu(made.process.pid)))
    costs.append(user + system)
    print(f"| {count} | {user + system:.2f} | {user:.2f} | {system:.2f} | {weight / 1024:.0f} |")
calling = min(arguments.active or arguments.keys, arguments.keys)
print(f"a request with {arguments.keys} keys, of which {calling} call, costs {costs[1] / costs[0]:.3f} of one with one key")
print(f"memory a key: {(weights[1] - weights[0]) * 1024 / arguments.keys:.0f} bytes")
for made in servers:
    made.stop()
upstream.terminate()
