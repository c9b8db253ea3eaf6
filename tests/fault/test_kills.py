# SPDX-License-Identifier: Apache-2.0
"""What was accepted with 2xx ends exactly once, whoever is killed meanwhile (see counting.py)."""
import os
import random
import signal
import threading
import time

import pytest
import requests

import harness
from counting import Load, deploy, verdict

@pytest.fixture
def deployed(server):
    return deploy(server)


def pause_between(load, rate, draw):
    load.wait_more(rate)
    time.sleep(draw.random() * 0.2)


@pytest.mark.timeout(600)
def test_server_is_killed(server, deployed, tmp_path, kills, rate):
    api, service = deployed
    draw = random.Random(harness.SEED)
    with Load(api, service, tmp_path / "runs") as load:
        for _ in range(kills):
            pause_between(load, rate, draw)
            server.kill()
            time.sleep(draw.choice((0, 0, 0.5)))
            server.start()
        pause_between(load, rate, draw)
    verdict(api, load, kills, agents_died=False)


@pytest.mark.timeout(600)
def test_server_is_killed_while_it_starts(server, deployed, tmp_path, kills, rate):
    """Recovery that is itself interrupted."""
    api, service = deployed
    draw = random.Random(harness.SEED + 1)
    with Load(api, service, tmp_path / "runs") as load:
        pause_between(load, rate, draw)
        for _ in range(kills):
            server.kill()
            starter = threading.Thread(target=lambda: _start_quietly(server))
            starter.start()
            time.sleep(draw.random() * 0.15)
            server.kill()
            starter.join()
        server.start()
        pause_between(load, rate, draw)
    verdict(api, load, 2 * kills, agents_died=False)


def _start_quietly(server):
    try:
        server.start()
    except (AssertionError, requests.RequestException):
        pass


@pytest.mark.timeout(600)
@pytest.mark.parametrize("whom", ["agent", "supervisor", "runner"])
def test_agent_is_killed(server, deployed, tmp_path, kills, rate, whom):
    api, service = deployed
    draw = random.Random(harness.SEED + 2)
    with Load(api, service, tmp_path / "runs", 0.01) as load:
        for _ in range(kills):
            pause_between(load, rate, draw)
            alive = harness.wait_for("an agent lives", server.supervisors)
            ids = next(iter(alive.values()))
            victim = {"agent": ids["agentPid"], "supervisor": ids["pid"]}.get(whom) or runner_of(ids["agentPid"])
            if victim:
                os.kill(victim, signal.SIGKILL)
            api.ready(service, seconds=60)
    verdict(api, load, kills, agents_died=True)


def runner_of(agent):
    """A process that the agent started; None while it has none."""
    try:
        children = open(f"/proc/{agent}/task/{agent}/children", encoding="ascii").read().split()
    except OSError:
        return None
    return int(children[0]) if children else None


@pytest.mark.timeout(600)
def test_everybody_is_killed(server, deployed, tmp_path, kills, rate):
    api, service = deployed
    draw = random.Random(harness.SEED + 3)
    with Load(api, service, tmp_path / "runs") as load:
        for _ in range(max(kills // 2, 1)):
            pause_between(load, rate, draw)
            for ids in server.supervisors().values():
                os.kill(ids["pid"], signal.SIGKILL)
            server.kill()
            server.start()
        pause_between(load, rate, draw)
    verdict(api, load, kills, agents_died=True)


def wake(pid):
    try:
        os.kill(pid, signal.SIGCONT)
        return True
    except ProcessLookupError:
        return False


def freeze(server, api, service, folder):
    """Freezes one agent past its lease; True when it woke up to work that somebody else had done."""
    folder.mkdir()
    api.patch(f"/services/{service}", {"runtime": {"concurrency": 10, "numReplicas": 1}})
    harness.wait_for("one agent", lambda: len(server.supervisors()) == 1 and api.ready(service))
    made = api.post(f"/executions/{service}", [
        {"functionName": "run", "input": {"folder": str(folder), "number": number, "seconds": 1}} for number in range(8)])
    harness.wait_for("all of them run", lambda: len(list(folder.iterdir())) == 8)
    frozen = next(iter(server.supervisors().values()))
    # The supervisor too, or it would kill the silent agent as the server asks it to.
    os.kill(frozen["pid"], signal.SIGSTOP)
    os.kill(frozen["agentPid"], signal.SIGSTOP)
    try:
        api.patch(f"/services/{service}", {"runtime": {"concurrency": 10, "numReplicas": 2}})
        ended = [api.finished(one["id"], 60) for one in made]
    finally:
        woken = wake(frozen["agentPid"])
        time.sleep(1)
        wake(frozen["pid"])
    assert {one["latestStatus"]["status"] for one in ended} == {"success"}
    assert len({one["replicaId"] for one in ended if "replicaId" in one}) <= 1
    time.sleep(5)  # more than a lease: whatever the woken agent reports has come
    after = [api.execution(one["id"]) for one in made]
    assert [one["statusLog"] for one in after] == [one["statusLog"] for one in ended]
    assert [one["updatedAt"] for one in after] == [one["updatedAt"] for one in ended]
    twice = sum((folder / str(number)).read_text().count("run") > 1 for number in range(8))
    duplicated = sum(sum(entry["status"] in harness.FINAL for entry in one["statusLog"]) != 1 for one in after)
    print(f"\n    1 freeze ({'woken' if woken else 'killed while it slept'}): attempted 8, accepted 8, completed {len(after)}, lost 0, duplicated {duplicated}, run again {twice}")
    assert duplicated == 0 and twice == 8
    return woken


@pytest.mark.timeout(400)
def test_frozen_agent_overwrites_nothing(server, deployed, tmp_path):
    """An agent that sleeps past its lease wakes up with results that somebody else has recorded. A
    server that is quick enough has ended it before it gave its work away: then nobody wakes up, and
    it is tried again. (The simulation in tests/simulation wakes such agents up for certain.)"""
    api, service = deployed
    assert any(freeze(server, api, service, tmp_path / f"runs{number}") for number in range(4)), \
        "every agent was killed in its sleep: nothing was tried"
