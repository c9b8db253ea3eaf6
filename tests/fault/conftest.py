# SPDX-License-Identifier: Apache-2.0
"""Servers that get killed. Sizes come from the environment, so that a night can be spent on it:
DROVER_FAULT_KILLS (kills of each kind, default 6), DROVER_FAULT_RATE (executions between kills,
default 150). DROVER_SEED repeats the random moments of a run that printed it."""
import os
import random

import pytest

import harness


@pytest.fixture(scope="session")
def kills():
    return int(os.environ.get("DROVER_FAULT_KILLS", "6"))


@pytest.fixture(scope="session")
def rate():
    return int(os.environ.get("DROVER_FAULT_RATE", "150"))


@pytest.fixture
def draw():
    seed = int(os.environ.get("DROVER_SEED") or random.randrange(1 << 32))
    print(f"\n    DROVER_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def server(tmp_path):
    server = harness.Server(tmp_path / "server", lease="2s").start()
    yield server
    problems = server.close() + server.complaints()
    assert not problems, "\n".join(problems)
