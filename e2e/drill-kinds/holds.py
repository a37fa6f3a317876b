"""What keeps a rotation at a step until a node has died there: an upstream that does not answer yet, a lock in a
database.
"""

import contextlib
import subprocess
import threading

from checks import PATIENCE, holds
from installation import with_parent


class Gate:
    """Doors by name. Who comes to a closed one waits; the others go on."""

    def __init__(self):
        self.shut, self.waiting = set(), {}
        self.changed = threading.Condition()

    def through(self, door):
        with self.changed:
            if door not in self.shut:
                return
            self.waiting[door] = self.waiting.get(door, 0) + 1
            self.changed.wait_for(lambda: door not in self.shut, 60 * PATIENCE)
            self.waiting[door] -= 1

    @contextlib.contextmanager
    def closed(self, door):
        with self.changed:
            self.shut.add(door)
        try:
            yield
        finally:
            self.open(door)

    def open(self, door):
        with self.changed:
            self.shut.discard(door)
            self.changed.notify_all()

    def is_waited_at(self, door):
        with self.changed:
            return bool(self.waiting.get(door))


@contextlib.contextmanager
def locked(command, statements, ends):
    """A lock that a session of a database's own client holds."""
    client = subprocess.Popen(
        [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=with_parent,
    )
    try:
        client.stdin.write(f"{statements} SELECT 'it is locked';\n")
        client.stdin.flush()
        told = client.stdout.readline()
        holds("it is locked" in told, f"the lock: {told}")
        yield
        client.stdin.write(f"{ends};\n")
        client.stdin.close()
        client.wait(60)
    finally:
        client.kill()
        client.wait(60)
