#!/usr/bin/env python3
"""The run-time API beside the real OpenBao server: CPU per request, both with their audit on.

`cargo xtask bench vault` runs this with the shipped binary and the comparison harness; what follows the harness's path
goes to it. Downloads OpenBao once.
"""

import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "e2e/lib")]

from installation import Installation, free_port, openbao

harness, *more = sys.argv[1:]
address = f"127.0.0.1:{free_port()}"
made = Installation("vault", env={"CREDENTIALFLOW_VAULT": address}).init().start(log="error")
token = made.json("operator", "root-token", "--ttl", "1d", keep=False)["token"]
product = ["--product-addr", f"http://{address}", "--product-pid", str(made.process.pid), "--product-token", token]
done = subprocess.run([sys.executable, harness, "--bao", openbao(), *product, *more])
made.stop()
sys.exit(done.returncode)
