"""A suite is a list of named checks; each prints one line, and the last line counts them.

A check is a function. It passes when it returns, and fails when it raises; nothing else is a verdict.
Checks run one after the other in the order in which they are written, so later ones may build on earlier ones.
"""

import signal
import sys
import threading
import time
import traceback

#: Seconds one check may take unless it says otherwise.
LIMIT = 60
#: Limits only end what would wait for ever: they are no promises, so each is so many times as long as it says. A
#: machine that is several times slower, or stands still for seconds, fails nothing by that.
PATIENCE = 4


class Suite:
    """Collects checks and runs them."""

    def __init__(self):
        self.checks = []

    def check(self, name, limit=LIMIT):
        """Decorates a check with the sentence that it proves."""

        def register(function):
            self.checks.append((name, function, limit))
            return function

        return register

    def prepare(self, name, function):
        """Does what every check needs, and returns what it gives. The suite ends here when it fails."""
        try:
            return function()
        except (Exception, KeyboardInterrupt) as error:
            print(f"FAIL  {name}\n      {_told(error)}\n0 passed, 1 failed", flush=True)
            sys.exit(1)

    def run(self):
        """Runs every check, or those whose name holds the words given as arguments. Returns the exit code."""
        wanted = [word.lower() for word in sys.argv[1:]]
        chosen = [c for c in self.checks if all(word in c[0].lower() for word in wanted)]
        signal.signal(signal.SIGALRM, _too_long)
        passed = failed = 0
        for name, function, limit in chosen:
            began = time.monotonic()
            signal.alarm(limit * PATIENCE)
            try:
                function()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a check that ends the process would hide the others
                failed += 1
                print(f"FAIL  {name}\n      {_told(error)}", flush=True)
            else:
                passed += 1
                print(f"ok    {name} ({time.monotonic() - began:.1f} s)", flush=True)
            finally:
                signal.alarm(0)
        print(f"{passed} passed, {failed} failed", flush=True)
        return 1 if failed or not passed else 0


class TooLong(Exception):
    """A check did not end in time."""


def _too_long(*_):
    raise TooLong("the check took too long")


def _told(error):
    """What went wrong, and where in the suite."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.endswith("checks.py")]
    place = f" [{frames[-1].filename.rsplit('/', 2)[-2]}:{frames[-1].lineno}]" if frames else ""
    mine = [f for f in frames if "/e2e/" in f.filename and not "/e2e/lib/" in f.filename]
    if mine and mine[-1] is not frames[-1]:
        place += f" from line {mine[-1].lineno}"
    text = str(error) or type(error).__name__
    if not isinstance(error, AssertionError):
        text = f"{type(error).__name__}: {text}"
    return text[:2000].replace("\n", "\n      ") + place


def equal(actual, expected, what=""):
    """Fails unless both are equal."""
    assert actual == expected, f"{what or 'value'}: expected {expected!r}, got {actual!r}"


def holds(condition, message):
    """Fails with the message unless the condition holds."""
    assert condition, message


def eventually(condition, message, seconds=10, pause=0.05):
    """Waits until the condition gives something true, and returns it. `PATIENCE` times as long as is told, and the
    condition is asked once more after that."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        late = time.monotonic() >= end
        found = condition()
        if found:
            return found
        assert not late, f"{message() if callable(message) else message} (waited {seconds * PATIENCE} s)"
        time.sleep(pause)


class Standstill:
    """Notes when this machine kept a thread waiting that only naps, so that what is measured beside it can be told from
    what the machine itself was late with. Begins at once; used with `with`."""

    NAP, NOTED = 0.01, 0.03

    def __init__(self):
        self.late, self.running = [], True
        self.thread = threading.Thread(target=self._nap, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.running = False
        self.thread.join()

    def _nap(self):
        while self.running:
            began = time.monotonic()
            time.sleep(self.NAP)
            ended = time.monotonic()
            if ended - began > self.NAP + self.NOTED:
                self.late.append((began + self.NAP, ended))

    def without(self, began, ended):
        """Seconds between two moments (of `time.monotonic`), without those in which the machine stood still."""
        stood = sum(max(0.0, min(ended, until) - max(began, since)) for since, until in list(self.late))
        return ended - began - stood
