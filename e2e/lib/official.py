"""The official SDKs for Python, each in a virtual environment of its own, driven by the programs of `10-sdks`."""

import pathlib
import subprocess
import sys

from installation import cached
from sdks import Sdk

PROGRAMS = pathlib.Path(__file__).resolve().parents[1] / "10-sdks"


def _python(name, environment, package, program):
    def make(venv):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", package], check=True)

    return Sdk(name, [cached(environment, make) / "bin/python", PROGRAMS / program])


def openai_python(program="sdk.py"):
    """`openai`."""
    return _python("Python", "sdk-python", "openai>=3,<4", program)


def anthropic_python(program="anthropic_sdk.py"):
    """`anthropic`."""
    return _python("Anthropic", "sdk-python-anthropic", "anthropic<1", program)


def google_python(program="google_sdk.py"):
    """`google-genai`."""
    return _python("Google", "sdk-python-google", "google-genai>=3,<4", program)
