#!/usr/bin/env python3
"""What a model call costs, beside LiteLLM, Portkey and nginx as a plain proxy, in one run; with everything on in ours: key
check, allow-list, limits of requests, tokens and calls at once, three hard budgets that are reserved from and charged, usage, cost, metrics, call log.

Requests per CPU second whole and streamed; what is added to the time of one call; streams of 64 events written at once and
paced; streams that are translated; and the memory of ten thousand streams that are open at once.

`cargo xtask bench models` runs this with the shipped binary and the comparison harness. Downloads LiteLLM (from PyPI) and
Portkey (from npm) once. `HARNESS --rounds N --secs N --streams N --only PART,PART`, of `chat`, `burst`, `paced`, `latency`,
`translated` and `open`.
"""

import argparse
import http.client
import json
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "e2e/lib")]

import messages_provider
from checks import holds
from installation import Installation, cached, free_port

LITELLM, PORTKEY = "1.106.2", "1.15.2"
PARTS = ("chat", "burst", "paced", "latency", "translated", "open")
WORDS = messages_provider.WORDS
BUDGET = "budget: { usd: 1000000, per: month, hard: true }"
CONFIGURATION = """
credentials:
  - { name: upstream-token, engine: generated }
upstreams:
  - { name: mock, endpoints: ["http://127.0.0.1:MOCK/v1"], provider: openai, inject: { bearer: upstream-token } }
  - { name: chats, endpoints: ["http://127.0.0.1:MOCK/v1"], provider: openai-chat, inject: { bearer: upstream-token } }
  - { name: messages, endpoints: ["http://127.0.0.1:MESSAGES/v1"], provider: anthropic }
teams:
  - { name: team, BUDGET }
models:
  - { name: mock-model, targets: [{ provider: mock, model: mock-model, PRICES }], BUDGET }
  - { name: chats, targets: [{ provider: chats, model: mock-model, PRICES }], BUDGET }
  - { name: messages, targets: [{ provider: messages, model: mock-model, credential: upstream-token, PRICES }], BUDGET }
applications:
  - name: bench
    team: team
    allow: { models: [mock-model, chats, messages] }
    limit: { requests: 1000000, tokens: 1000000000, per: 1s, concurrent: 100000 }
    BUDGET
"""
PRICES = 'prices: [{ from: 2026-01-01T00:00:00Z, input: "0.25", output: "2.00" }]'
SYSTEM, USER = "You are a helpful assistant.", "Tell me something about gateways. " * 8


# ---- the callers' dialects: path, body, and how a stream ends ----------------------------------------------------------


def chat(model):
    said = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
    return "/v1/chat/completions", {"model": model, "messages": said, "max_tokens": 128, "stream": True}, b"[DONE]"


def messages(model):
    body = {"model": model, "max_tokens": 128, "system": SYSTEM, "messages": [{"role": "user", "content": USER}]}
    return "/v1/messages", {**body, "stream": True}, b"message_stop"


def responses(model):
    body = {"model": model, "instructions": SYSTEM, "input": USER, "max_output_tokens": 128, "stream": True}
    return "/v1/responses", body, b"response.completed"


def gemini(model):
    body = {"systemInstruction": {"parts": [{"text": SYSTEM}]}, "contents": [{"role": "user", "parts": [{"text": USER}]}]}
    body["generationConfig"] = {"maxOutputTokens": 128}
    return f"/v1beta/models/{model}:streamGenerateContent?alt=sse", body, b'"finishReason"'


# ---- the peers -----------------------------------------------------------------------------------------------------------


def litellm():
    """A virtual environment with LiteLLM's proxy."""

    def make(venv):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", f"litellm[proxy]=={LITELLM}"], check=True)

    return cached(f"bench-litellm-{LITELLM}", make)


def portkey():
    """A folder with Portkey's gateway."""

    def make(base):
        (base / "package.json").write_text('{"private": true}')
        package = f"@portkey-ai/gateway@{PORTKEY}"
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", package], cwd=base, check=True)

    return cached(f"bench-portkey-{PORTKEY}", make)


# ---- measuring -----------------------------------------------------------------------------------------------------------


class Figures:
    """What is told at the end."""

    def __init__(self):
        self.rows = []

    def add(self, what, value, goal, held, shown="{:.2f}"):
        self.rows.append((what, shown.format(value), goal, "yes" if held else "NO"))

    def told(self):
        print("\n| what | measured | goal | held |\n|---|---:|---:|---|")
        for row in self.rows:
            print("| {} | {} | {} | {} |".format(*row))

    def missed(self):
        """What was measured and does not reach its goal."""
        return [row[0] for row in self.rows if row[3] == "NO"]


def by_harness(kind, peers, *more):
    """Runs a set of the harness; what it measured, by target, in the order of the rounds."""
    out = made.dir / f"{kind}-{time.monotonic_ns()}.json"
    command = [sys.executable, arguments.harness, kind, "--json", out, "--product-pid", str(made.process.pid)]
    command += ["--product-port", str(made.gateway_address[1]), "--header", f"authorization: Bearer {key}"]
    command += ["--rounds", str(arguments.rounds), "--secs", str(arguments.secs), *more]
    if peers:
        command += ["--litellm", litellm(), "--portkey", portkey()]
    print(f"\n## {kind} {' '.join(more)}\n", flush=True)
    # Not into our own target directory: the harness builds its load generator by itself.
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    environment["NODE_OPTIONS"] = f"--import {pathlib.Path(__file__).resolve().with_name('portkey.mjs').as_uri()}"
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL)
    rows = {}
    for line in out.read_text().splitlines():
        row = json.loads(line)
        rows.setdefault(row["target"], []).append(row)
    errors = sum(row["errors"] for row in rows["product"])
    holds(not errors, f"{errors} calls of ours failed: {rows['product'][0].get('first_err')}")
    for who in peers:
        holds(all(row["requests"] for row in rows[who]), f"{who} answered nothing: {rows[who][0].get('first_err')}")
    return rows


def ratio(rows, above, below):
    """CPU a request of one, in those of another in the same rounds: the median."""
    return statistics.median(a["cpu_us"] / b["cpu_us"] for a, b in zip(rows[above], rows[below]))


def against_peers(kind, name):
    """Requests per CPU second in those of LiteLLM and of Portkey."""
    rows = by_harness(kind, ("litellm", "portkey"))
    cost = statistics.median(row["cpu_us"] for row in rows["product"])
    print(f"\n{name}: {cost:.1f} us of CPU a call, {1e6 / cost:.0f} calls per CPU second")
    for who, goal in (("litellm", 300), ("portkey", 40)):
        times = ratio(rows, who, "product")
        figures.add(f"{name}: calls per CPU second, in those of {who}", times, f">= {goal}", times >= goal, "{:.0f}")
    return rows


def burst():
    rows = against_peers("stream-burst", "64 events at once")
    value = ratio(rows, "product", "nginx")
    figures.add("64 events at once: CPU in that of nginx", value, "<= 1.0", value <= 1.0)


def paced():
    value = ratio(by_harness("stream-paced", ()), "product", "nginx")
    figures.add("64 events, paced: CPU in that of nginx", value, "<= 1.05", value <= 1.05)


def latency():
    """One call at a time, so that nothing waits in a queue."""
    rows = by_harness("chat", (), "--conns", "1")
    for who in ("product", "nginx"):
        added = statistics.median(a["p50_us"] - b["p50_us"] for a, b in zip(rows[who], rows["direct"]))
        if who == "product":
            figures.add("added to the median time of a call, us", added, "< 150", added < 150, "{:.0f}")
        else:
            print(f"\nnginx adds {added:.0f} us")


def ask(port, path, body, headers):
    """One call; its whole answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    text = answer.read()
    holds(answer.status == 200, f"{path}: {answer.status} {text[:300]!r}")
    return text


def wrk(port, path, body, headers, seconds):
    """A load of one kind of call; what wrk told."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"dofile([==[{harness.HERE}/report.lua]==])\nwrk.method = 'POST'\nwrk.body = [==[{json.dumps(body)}]==]\n")
        for name, value in {"content-type": "application/json", **headers}.items():
            script.write(f"wrk.headers[ [==[{name}]==] ] = [==[{value}]==]\n")
        script.flush()
        os.chmod(script.name, 0o600)
        command = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "20s", "-s", script.name]
        environment = {**os.environ, "BODY": "0", "HDRS": ""}
        done = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], env=environment, capture_output=True, text=True)
    holds(done.returncode == 0, f"wrk: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout.rpartition("JSON")[2])
    holds(told["requests"] and not told["non2xx"] + told["errors"], f"{path}: {told}")
    return told["requests"]


def translated():
    """Streams of 64 events written at once, in another dialect than the caller's; nginx passes the provider's as they are."""
    print("\n## translated streams\n", flush=True)
    run = tempfile.mkdtemp(dir=made.dir)
    begun = [
        harness.start(dict(cmd=[mock_program(), "--listen", f"127.0.0.1:{harness.MOCK}"], port=harness.MOCK), "1", f"{run}/mock.out"),
        harness.start(dict(cmd=[sys.executable, messages_provider.__file__, str(messages_port)], port=messages_port), "1", f"{run}/messages.out"),
    ]
    peers = {}
    for name, upstream in (("chats", harness.MOCK), ("messages", messages_port)):
        port = free_port()
        process = harness.start(harness.nginx(run, f"nginx-{name}", port, upstream, stream=True), "0", f"{run}/nginx.out")
        begun.append(process)
        peers[name] = (process.pid, port)
    subprocess.run(["taskset", "-a", "-p", "-c", "0", str(made.process.pid)], capture_output=True, check=True)
    ours, own = (made.process.pid, made.gateway_address[1]), {"authorization": f"Bearer {key}"}
    # The caller's dialect, the model, and what nginx passes.
    pairs = (
        ("Chat Completions from Messages", chat, "messages", messages),
        ("Messages from Chat Completions", messages, "chats", chat),
        ("Responses from Chat Completions", responses, "chats", chat),
        ("Gemini from Chat Completions", gemini, "chats", chat),
    )
    print("| stream | ours, CPU us | nginx, CPU us | ratio |\n|---|---:|---:|---:|", flush=True)
    try:
        for name, caller, model, provider in pairs:
            sides = ((ours, *caller(model), own), (peers[model], *provider("mock-model"), {}))
            for (_, port), path, body, end, headers in sides:
                text = ask(port, path, body, headers)
                missing = [word for word in WORDS if word.strip().encode() not in text]
                holds(not missing and end in text, f"{path}: {missing} are missing, or the end")
                wrk(port, path, body, headers, 1)
            costs = []
            for number in range(arguments.rounds):
                cost = {}
                for side, ((pid, port), path, body, _, headers) in list(enumerate(sides))[:: 1 if number % 2 else -1]:
                    who = harness.tree(pid)
                    before = sum(harness.cpu(who))
                    requests = wrk(port, path, body, headers, arguments.secs)
                    cost[side] = (sum(harness.cpu(who)) - before) * 1e6 / requests
                costs.append((cost[0], cost[1]))
            value = statistics.median(mine / theirs for mine, theirs in costs)
            mine, theirs = (statistics.median(side) for side in zip(*costs))
            print(f"| {name} | {mine:.1f} | {theirs:.1f} | {value:.2f} |", flush=True)
            figures.add(f"translated, {name}: CPU in that of nginx", value, "<= 3", value <= 3)
    finally:
        subprocess.run(["taskset", "-a", "-p", "-c", f"0-{os.cpu_count() - 1}", str(made.process.pid)], capture_output=True)
        finish(begun)


def finish(processes):
    """Ends what the harness's functions started."""
    for process in processes:
        os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        process.wait(30)
        harness.started.remove(process)


def mock_program(name="mockllm"):
    """A program of the harness, which it builds for its first set."""
    places = [os.environ.get("BENCH_TOOLS"), f"{harness.HERE}/tools/target/release", f"{tempfile.gettempdir()}/bench-tools/release"]
    found = [f"{place}/{name}" for place in places if place and os.path.exists(f"{place}/{name}")]
    holds(found, "the harness's tools are not built: let one of its sets run first, for example with --only latency,open")
    return found[0]


def open_streams():
    """How many streams go through us at this moment: connections of callers, and as many to the provider."""
    callers = providers = 0
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state == "01":
            callers += int(local[9:], 16) == made.gateway_address[1]
            providers += int(remote[9:], 16) == harness.MOCK
    return min(callers, providers)


def memory():
    """Streams that are all open at once, each with an event every half second."""
    # Two files each: the caller's connection and the provider's.
    most = (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 400) // 2
    wanted = min(arguments.streams, most)
    print(f"\n## {wanted} open streams\n", flush=True)
    if wanted < arguments.streams:
        print(f"{arguments.streams} need more open files than this machine allows: measured with {wanted}, told for {arguments.streams}")
    run = tempfile.mkdtemp(dir=made.dir)
    before = made.rss()
    pace = ["--chunk-delay-us", "500000"]
    begun = [harness.start(dict(cmd=[mock_program(), "--listen", f"127.0.0.1:{harness.MOCK}", *pace], port=harness.MOCK), None, f"{run}/mock.out")]
    url = "http://127.0.0.1:%d/v1/chat/completions" % made.gateway_address[1]
    command = [mock_program("llmload"), "--url", url, "--stream", "--model", "mock-model", "--conns", str(wanted)]
    command += ["--secs", "15", "-H", f"authorization: Bearer {key}"]
    seen, told = [], {}

    def load():
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        told.update(json.loads(done.stdout))

    thread = threading.Thread(target=load)
    thread.start()
    while thread.is_alive():
        seen.append((open_streams(), made.rss()))
        time.sleep(0.5)
    finish(begun)
    together, weight = max(streams for streams, _ in seen), max(rss for _, rss in seen)
    print(f"{together} open at once, {told['requests']} answered whole, {told['errors']} failed")
    holds(together >= wanted and told["requests"] >= wanted, f"only {together} were open at once: {told}")
    each = (weight - before) / together
    print(f"{before / 2**20:.0f} MiB before, {weight / 2**20:.0f} MiB at most: {each / 1024:.1f} KiB a stream")
    whole = (before + each * max(together, arguments.streams)) / 2**20
    shown = f" (by {together} that were)" if together < arguments.streams else ""
    figures.add(f"{arguments.streams} open streams{shown}: memory, MiB", whole, "< 1024", whole < 1024, "{:.0f}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("harness", help="the comparison harness, bench.py")
parser.add_argument("--rounds", type=int, default=8)
parser.add_argument("--secs", type=int, default=4)
parser.add_argument("--streams", type=int, default=10_000)
parser.add_argument("--only", default=",".join(PARTS))
arguments = parser.parse_args()
parts = arguments.only.split(",")
if unknown := set(parts) - set(PARTS):
    parser.error(f"there is no part {', '.join(sorted(unknown))}")
sys.path.insert(0, str(pathlib.Path(arguments.harness).resolve().parent))
import bench as harness

figures, messages_port = Figures(), free_port()
made = Installation("models").init().start("--workers", "1", log="error")
text = CONFIGURATION.replace("PRICES", PRICES).replace("BUDGET", BUDGET)
made.api.apply(text.replace("MOCK", str(harness.MOCK)).replace("MESSAGES", str(messages_port)))
key = made.api.issue("bench", "bench")[1]
failed = []
try:
    for part, measure in (
        ("chat", lambda: against_peers("chat", "whole answers")),
        ("burst", burst),
        ("paced", paced),
        ("latency", latency),
        ("translated", translated),
        ("open", memory),
    ):
        if part in parts:
            try:
                measure()
            except (AssertionError, subprocess.CalledProcessError, SystemExit) as error:
                # The others are measured all the same.
                print(f"\n{part} failed: {error}", flush=True)
                failed.append(part)
finally:
    for process in harness.started:
        os.killpg(process.pid, signal.SIGKILL)
    made.stop()
    figures.told()
if failed:
    sys.exit(f"not measured: {', '.join(failed)}")
if missed := figures.missed():
    sys.exit(f"goals that are missed: {'; '.join(missed)}")
