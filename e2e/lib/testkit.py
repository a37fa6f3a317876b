"""The programs of `crates/testkit`, for suites: a load generator that hides nothing, and an upstream with rules."""

import atexit
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from checks import PATIENCE
from installation import ROOT, free_port, with_parent

_built = []


def program(name):
    """A program of the testkit; built here unless `CREDENTIALFLOW_TESTKIT` names the folder it is in."""
    given = os.environ.get("CREDENTIALFLOW_TESTKIT")
    if given:
        return pathlib.Path(given) / name
    if not _built:
        command = ["cargo", "build", "--quiet", "--profile", "quick", "-p", "credentialflow", "-p", "credentialflow-testkit"]
        subprocess.run(command, cwd=ROOT, check=True)
        _built.append(True)
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "quick" / name


def quick():
    """Whether a drill is to be short: asked for with `--quick`, or run among the other suites.

    By hand, and as `run-slow`, a drill is whole. The flags are taken out of the arguments.
    """
    flags = [a for a in sys.argv[1:] if a.startswith("--")]
    sys.argv[1:] = [a for a in sys.argv[1:] if not a.startswith("--")]
    return "--quick" in flags or ("E2E_TMP" in os.environ and "--full" not in flags)


def say(text):
    """A figure, shown under the check that measured it."""
    print(f"      {text}", flush=True)


class TokenUpstream:
    """An upstream that answers only to the bearer tokens it is told to accept."""

    def __init__(self, tokens=()):
        # Its own to listen on again, also while it is down.
        self.address, self.admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.tokens = list(tokens)
        self.lock = threading.RLock()
        self.start()
        atexit.register(self.kill)

    def start(self):
        """Starts it, after an end on the same ports."""
        command = [program("upstream"), "--listen", self.address, "--admin", self.admin]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=with_parent)
        told = json.loads(self.process.stdout.readline())
        self.address, self.admin = told["address"], told["admin"]
        self.accept(*self.tokens)

    @property
    def url(self):
        return f"http://{self.address}"

    def accept(self, *tokens):
        """From now on these tokens, and no others."""
        with self.lock:
            self.tokens = list(tokens)
            return self._admin("PUT", "\n".join(tokens))

    def stats(self):
        return self._admin("GET")

    def _admin(self, method, body=None):
        connection = http.client.HTTPConnection(self.admin, timeout=60)
        connection.request(method, "/tokens", body)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def restart(self):
        """A graceful restart, from the main thread; returns how long nothing listened."""
        with self.lock:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30 * PATIENCE)
            down = time.monotonic()
            self.start()
            return time.monotonic() - down

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


class OpenLoad:
    """Steady open-loop load; begins at once. `finish` answers the report."""

    def __init__(self, address, keys, requests, rate, seconds, folder, connections=64, per_connection=0, timeout=10000):
        self.seconds, self.keys = seconds, list(keys)
        listed = pathlib.Path(folder) / f"keys-{time.monotonic_ns()}"
        listed.write_text("".join(f"{k}\n" for k in self.keys))
        listed.chmod(0o600)
        command = [program("load"), "--target", "%s:%d" % address, "--keys", listed, "--rate", rate]
        command += ["--seconds", seconds, "--connections", connections, "--per-connection", per_connection]
        command += ["--timeout", timeout, "--listed", 20000]
        for request in requests:
            command += ["--request", request]
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, preexec_fn=with_parent)
        self.began = time.monotonic()
        atexit.register(self.kill)

    def elapsed(self):
        return time.monotonic() - self.began

    def wait_until(self, second):
        """Waits until so many seconds of load are over."""
        time.sleep(max(0.0, second - self.elapsed()))

    def end(self):
        """Ends the load early; the report still comes."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish()

    def finish(self):
        out, _ = self.process.communicate(timeout=self.seconds + 60 * PATIENCE)
        assert self.process.returncode == 0, f"the load generator ended with {self.process.returncode}"
        return json.loads(out)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


def told(report):
    """A report in one line. Latency is without what a request itself had its upstream wait."""
    latency, refused = report["latency_ms"], report["refused_ms"]
    told = f"; refusals p50 {refused['p50']:.2f}, p99 {refused['p99']:.2f}" if refused["max"] else ""
    return (
        f"{report['sent']} requests in {report['seconds']:.1f} s ({report['rate']:.0f}/s), {report['failed']} failed"
        f" {report['reasons'] or ''}; latency ms p50 {latency['p50']:.2f}, p99 {latency['p99']:.2f},"
        f" p99.9 {latency['p999']:.2f}, max {latency['max']:.1f}{told}; {report['connects']} connections"
    )
