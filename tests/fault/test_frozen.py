# SPDX-License-Identifier: Apache-2.0
"""Processes that sleep past their lease (SIGSTOP) and wake up again (SIGCONT) into a world that went on:
the server, agents and runners. What they say late is refused, nothing is recorded twice, and they take
work again or end. (Supervisors that sleep too: test_kills.py.)"""
import contextlib
import os
import signal
import time

import pytest

import harness
from counting import Load, deploy, timed_verdict
from faults import LONG
from test_kills import runner_of, wake

LEASE = 2.0
TIMES = 20 if LONG else 3


@contextlib.contextmanager
def asleep(pid):
    """Stopped meanwhile; what was killed in its sleep does not wake up."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        wake(pid)


def agents(server, count):
    """The process ids of so many agents that have a runner."""
    def living():
        found = [ids["agentPid"] for ids in server.supervisors().values()]
        return found if len(found) >= count and all(map(runner_of, found)) else None
    return harness.wait_for(f"{count} agents live", living, 60)


@pytest.mark.timeout(1800)
def test_frozen_server(server, tmp_path, draw):
    """The agents wait for it, with what they have; it does not take its own sleep for theirs."""
    api, service = deploy(server, runtime={"concurrency": 10, "numReplicas": 2})
    before = sorted(agents(server, 2))
    with Load(api, service, tmp_path / "runs", 0.01, pace=200, deadline=60) as load:
        for _ in range(TIMES):
            load.wait_more(draw.randrange(50, 150))
            with asleep(server.process.pid):
                time.sleep(LEASE * (1.5 + draw.random()))
        load.wait_more(50)
    timed_verdict(api, load, {"server": TIMES}, agents_died=False, what="frozen")
    assert sorted(agents(server, 2)) == before, "agents were ended for a sleep of the server"


@pytest.mark.timeout(1800)
def test_frozen_agents(server, tmp_path, draw):
    """Their work is done by others within two lease times; they are ended, and replaced."""
    api, service = deploy(server, runtime={"concurrency": 10, "numReplicas": 2})
    with Load(api, service, tmp_path / "runs", 0.01, pace=200) as load:
        for _ in range(TIMES):
            victim = draw.choice(sorted(agents(server, 2)))
            load.wait_more(draw.randrange(50, 150))
            with asleep(victim):
                time.sleep(LEASE * (1.2 + draw.random()))
            api.ready(service, 2, 60)
        load.wait_more(50)
    waited = timed_verdict(api, load, {"agents": TIMES}, agents_died=True, what="frozen")
    print(f"      leased again after at most {waited:.2f} s; the lease is {LEASE:.0f} s")
    assert waited <= 2 * LEASE * harness.SLOW


@pytest.mark.timeout(1800)
def test_agents_frozen_for_less_than_a_lease(server, tmp_path, draw):
    """That is not long enough to lose anything: nobody else gets their work."""
    api, service = deploy(server, runtime={"concurrency": 10, "numReplicas": 2})
    before = sorted(agents(server, 2))
    with Load(api, service, tmp_path / "runs", 0.01, pace=200) as load:
        for _ in range(TIMES):
            load.wait_more(draw.randrange(20, 60))
            with asleep(draw.choice(before)):
                time.sleep(LEASE * 0.3)
        load.wait_more(50)
    timed_verdict(api, load, {"agents": TIMES}, agents_died=False, what="frozen shortly")
    assert sorted(agents(server, 2)) == before


@pytest.mark.timeout(1800)
def test_frozen_runners(server, tmp_path, draw):
    """Their agent speaks for them: what they run waits, and ends once, when they wake up."""
    api, service = deploy(server, runtime={"concurrency": 10, "numReplicas": 2})
    runners = sorted(map(runner_of, agents(server, 2)))
    with Load(api, service, tmp_path / "runs", 0.01, pace=200) as load:
        for _ in range(TIMES):
            load.wait_more(draw.randrange(50, 150))
            with asleep(draw.choice(runners)):
                time.sleep(LEASE * (1.5 + draw.random()))
        load.wait_more(50)
    timed_verdict(api, load, {"runner": TIMES}, agents_died=False, what="frozen")
    assert sorted(map(runner_of, agents(server, 2))) == runners


@pytest.mark.timeout(600)
def test_runner_frozen_past_its_timeout(server, tmp_path):
    """Its executions end by executionTimeout, it is replaced, and what it still says changes nothing."""
    api, service = deploy(server, executionTimeout=2, drainTime=1)
    folder = tmp_path / "runs"
    folder.mkdir()
    runner = runner_of(agents(server, 1)[0])
    made = api.post(f"/executions/{service}", [
        {"functionName": "run", "input": {"folder": str(folder), "number": number, "seconds": 0.5}} for number in range(8)])
    harness.wait_for("all of them run", lambda: len(list(folder.iterdir())) == 8, 10, 0.01)
    with asleep(runner):
        ended = [api.finished(one["id"], 30) for one in made]
    assert {one["latestStatus"]["status"] for one in ended} == {"failed"}
    assert all("executionTimeout" in one["latestStatus"]["error"]["message"] for one in ended)
    harness.wait_for("another runner is there", lambda: runner_of(agents(server, 1)[0]) not in (None, runner))
    again = api.run(service, "run", {"folder": str(folder), "number": 100, "seconds": 0})
    assert again["latestStatus"]["status"] == "success"
    time.sleep(LEASE)
    assert [api.execution(one["id"])["statusLog"] for one in made] == [one["statusLog"] for one in ended]
