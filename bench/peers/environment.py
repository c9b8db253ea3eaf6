# SPDX-License-Identifier: Apache-2.0
"""Where the peers' own packages are: made once for each content of requirements.txt and package.json."""
import hashlib
import pathlib
import shutil
import subprocess
import sys

import harness
from support.programs import Failed

HERE = pathlib.Path(__file__).resolve().parent


def make(name, source, build):
    """A folder in the cache that `build` filled, complete or not there at all."""
    digest = hashlib.sha256(source.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = harness.CACHE / f"{name}-{digest}"
    marker = folder / ".complete"
    if not marker.exists():
        print(f"making {folder} (once)", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for command in build(folder):
            done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=900,
                                  check=False)
            if done.returncode:
                raise Failed(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout)[-500:]}")
        marker.touch()
    return folder


def python():
    """An interpreter that has Celery, Dramatiq and RQ."""
    requirements = HERE / "requirements.txt"
    folder = make("bench-venv", requirements, lambda folder: (
        [sys.executable, "-m", "venv", folder],
        [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements]))
    return folder / "bin" / "python"


def node():
    """A folder of node modules that has BullMQ."""
    if not shutil.which("npm"):
        raise Failed("node and npm are not installed; BullMQ is not measured")
    package = HERE / "package.json"
    return make("bench-node", package, lambda folder: (
        ["cp", package, folder], ["npm", "install", "--silent", "--no-audit", "--no-fund"]))
