# SPDX-License-Identifier: Apache-2.0
"""Where things are, and the small programs that measure (build/bench)."""
import json
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("DROVER_BUILD", ROOT / "build"))
BENCH = BUILD / "bench"


class Failed(Exception):
    """A measurement that gave no figure; the text says why."""


def program(name):
    path = BENCH / name
    if not path.exists():
        raise Failed(f"{path} is not built: make bench-programs")
    return path


def run(command, timeout=600, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, check=False,
                          **more)
    if done.returncode:
        said = (done.stderr or done.stdout)[-800:].strip()
        raise Failed(f"{pathlib.Path(str(command[0])).name} ended with {done.returncode}: {said}")
    return done.stdout


def http_load(port, path, body, *, token=None, connections=64, seconds=None, count=None, rate=None, expect=None,
              status=None, method="POST"):
    """Runs bench/http_load.c against a port of this machine; gives what it prints. Any wrong answer fails it."""
    command = [program("http_load"), "--port", port, "--path", path, "--method", method, "--connections", connections]
    command += ["--header", f"authorization: Bearer {token}"] if token else []
    for name, value in (("seconds", seconds), ("count", count), ("rate", rate), ("expect", expect), ("status", status)):
        command += [f"--{name}", value] if value is not None else []
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(body)
        file.flush()
        command += ["--body-file", file.name] if body else []
        found = json.loads(run(command, timeout=(seconds or 0) + 600))
    if found["errors"]:
        raise Failed(f"{found['errors']} of {found['requests']} requests failed: {found['wrong']}")
    return found
