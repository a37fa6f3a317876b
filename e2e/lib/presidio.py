"""A stand-in for Presidio's analyzer, and before it the adapter of `examples/presidio` as it stands."""

import atexit
import os
import subprocess
import sys

from installation import ROOT
from upstream import Upstream, answer

ADAPTER = ROOT / "examples/presidio/adapter.py"
KNOWN = (("Anna Lee", "PERSON"), ("Ann Lee", "PERSON"), ("Lisbon", "LOCATION"))


class Presidio(Upstream):
    """Answers as Presidio does: for each text what it finds, counted in code points."""

    def __init__(self, token):
        super().__init__(self.serve)
        environment = {**os.environ, "ADAPTER_TOKEN": token, "PRESIDIO_URL": self.url}
        command = [sys.executable, ADAPTER, "0"]
        self.adapter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        atexit.register(self.adapter.kill)
        #: Where the adapter listens, as host and port.
        self.place = self.adapter.stdout.readline().split()[-1]

    def serve(self, request, wire):
        asked = request.json()
        if request.target != "/analyze" or asked["language"] != "en" or asked["entities"] != ["PERSON", "LOCATION"]:
            wire.send(answer(500, {"error": "not as Presidio is asked"}))
            return False
        wire.send(answer(200, [self.found(text) for text in asked["text"]], {"connection": "close"}))
        return False

    @staticmethod
    def found(text):
        one = lambda name, kind: {"entity_type": kind, "start": text.index(name), "end": text.index(name) + len(name)}
        return [{"analysis_explanation": None, **one(name, kind), "score": 0.85} for name, kind in KNOWN if name in text]

    def end(self):
        """The adapter ends too."""
        self.adapter.kill()
        self.adapter.wait()
        self.stop()
