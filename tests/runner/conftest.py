# SPDX-License-Identifier: Apache-2.0
"""Starts runners for tests. DROVER_RUNNER names the built runner's folder (else it is built),
RUNNER_PYTHONS other interpreters to test with, separated by colons."""
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

from agent import Agent

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def runner_folder():
    folder = os.environ.get("DROVER_RUNNER")
    if folder:
        return folder
    subprocess.run(["make", "-s", "build/runner/_drover.abi3.so"], cwd=ROOT, check=True)
    return str(ROOT / "build" / "runner")


@pytest.fixture(params=["c", "python"])
def transport(request):
    return request.param


@pytest.fixture(params=(os.environ.get("RUNNER_PYTHONS") or sys.executable).split(":"))
def python(request):
    return request.param


@pytest.fixture
def start(runner_folder, transport, python, tmp_path):
    """start(code, files=…, env=…, nursery=…): an agent with a fresh runner whose package is this code."""
    agents = []
    temporary = tmp_path / "temporary"  # what runners that are killed leave behind goes with the test
    temporary.mkdir()

    def begin(code="", files=None, env=None, nursery=False):
        folder = tmp_path / ("code%d" % len(agents))
        for name, text in {"main.py": code, **(files or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        agent = Agent(runner_folder, folder, transport, python, {"TMPDIR": str(temporary), **(env or {})},
                      nursery)
        agents.append(agent)
        return agent

    yield begin
    for agent in agents:
        agent.close()
