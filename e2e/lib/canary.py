"""Searches bytes for secrets that must not be there, in every form in which one may hide.

Forms: plain, hexadecimal, base64 in all three alignments (standard and URL alphabet, so that a secret inside a
longer encoded text is found), percent-encoded, and as JSON would escape it.
"""

import base64
import hashlib
import pathlib
import urllib.parse

#: Shorter forms match by chance.
SHORTEST = 8


def forms(secret):
    """Every form of a secret: pairs of a word and the bytes to look for."""
    found = {"plain": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode()}
    for at in range(3):
        text = base64.b64encode(b"\0" * at + secret).rstrip(b"=")
        # The characters that also depend on what stands before or after the secret are left out.
        first = -(-at * 8 // 6)
        last = (at + len(secret)) * 8 // 6
        found[f"base64+{at}"] = text[first:last]
        found[f"base64url+{at}"] = text[first:last].translate(bytes.maketrans(b"+/", b"-_"))
    found["percent"] = "".join(f"%{b:02X}" for b in secret).encode()
    found["percent lower"] = "".join(f"%{b:02x}" for b in secret).encode()
    found["url"] = urllib.parse.quote(secret, safe="").encode()
    found["url lower"] = urllib.parse.quote(secret, safe="").lower().encode()
    found["json"] = secret.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"').encode("latin-1")
    found["list"] = ", ".join(str(b) for b in secret).encode()
    found["list tight"] = ",".join(str(b) for b in secret).encode()
    return {word: needle for word, needle in found.items() if len(needle) >= SHORTEST}


def content(path):
    """What a file holds; None where it is none, or was deleted meanwhile by the server whose it is."""
    try:
        return path.read_bytes() if path.is_file() else None
    except FileNotFoundError:
        return None


class Canaries:
    """The planted secrets."""

    def __init__(self):
        self.planted = {}

    def plant(self, name, secret):
        """Looks for this secret from now on, whole and its last half (a cut one leaks as well)."""
        data = secret.encode() if isinstance(secret, str) else bytes(secret)
        half = data[len(data) // 2 :]
        kinds = {f"{name}": forms(data)}
        if len(half) >= 12:
            kinds[f"second half of {name}"] = forms(half)
        for kind, needles in kinds.items():
            self.planted[kind] = needles
        return secret

    def search(self, data, where):
        """Where secrets were found: a list of sentences. Only the first form of each is told."""
        found = []
        for name, needles in self.planted.items():
            for word, needle in needles.items():
                at = data.find(needle)
                if at >= 0:
                    start = data[max(0, at - 60) : at].decode("latin-1", "replace")
                    found.append(f"{name} ({word}) in {where} at byte {at}, after {start!r}")
                    break
        return found

    def search_files(self, root):
        """Searches every file below a folder. Returns the findings, and how many files and bytes were read."""
        found, files, size, seen = [], 0, 0, set()
        for path in sorted(pathlib.Path(root).rglob("*")):
            if (data := content(path)) is not None:
                files, size = files + 1, size + len(data)
                # A database's templates lie there several times.
                mark = hashlib.sha256(data).digest()
                if mark in seen:
                    continue
                seen.add(mark)
                found += self.search(data, str(path.relative_to(root)))
        return found, files, size
