# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the server, the agents and the runners, one after the other as soon as the last victim is
back, at random moments under a load of some hundred executions a second (see counting.py).

100 kills of each kind; 1,000 with DROVER_LONG=1 (`make test-long`); DROVER_STORM_KILLS says otherwise."""
import contextlib
import os
import signal
import time

import pytest

import harness
from counting import Load, deploy, timed_verdict
from faults import LONG
from test_kills import runner_of

KILLS = int(os.environ.get("DROVER_STORM_KILLS", "1000" if LONG else "100"))
REPLICAS = 2
PACE = 400  # executions a second that are asked for; a server that starts makes it fewer
LEASE = 2.0
BACK_WITHIN = 5.0  # seconds from a kill of the server to the next execution that it accepts


@pytest.fixture
def server(tmp_path):
    # Agents that are killed before they are ready look like ones that cannot start.
    options = {"lease": f"{LEASE:.0f}s", "backoff-first": "10ms", "backoff-max": "100ms", "backoff-reset": "10s",
               "crash-failures": "1000", "rollout-failures": "1000"}
    server = harness.Server(tmp_path / "server", **options).start()
    yield server
    problems = server.close() + server.complaints()
    assert not problems, "\n".join(problems)


@pytest.fixture
def deployed(server):
    return deploy(server, runtime={"concurrency": 10, "numReplicas": REPLICAS})


@pytest.mark.timeout(14400 if LONG else 600)
def test_storm_on_the_server(server, deployed, tmp_path, draw):
    """Nothing runs twice: the agents keep what they have and name it to the next server."""
    api, service = deployed
    slowest = 0.0
    with Load(api, service, tmp_path / "runs", pace=PACE) as load:
        load.wait_more(50)
        for _ in range(KILLS):
            time.sleep(draw.random() * 0.1)
            server.kill()
            at, accepted = time.monotonic(), len(load.accepted)
            server.start()
            harness.wait_for("an execution is accepted", lambda before=accepted: len(load.accepted) > before, 60, 0.005)
            slowest = max(slowest, time.monotonic() - at)
            load.wait_more(draw.randrange(1, PACE // 4))
    timed_verdict(api, load, {"server": KILLS}, agents_died=False)
    print(f"      accepting again after at most {slowest:.2f} s")
    assert slowest <= BACK_WITHIN * harness.SLOW


def process(pid):
    """A name for it that no later process of the same number has; None: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return pid, stat.read().rpartition(")")[2].split()[19]  # its start
    except OSError:
        return None


def kill_one(server, kind, draw, killed):
    """Kills one, once all have come back; None while they have not. What was killed may be seen for a while."""
    agents = [ids["agentPid"] for ids in server.supervisors().values()]
    found = [agent if kind == "agent" else runner_of(agent) for agent in agents]
    if len(found) < REPLICAS or not all(found) or killed.intersection(map(process, found + agents)):
        return None
    victim = draw.choice(sorted(found))
    name = process(victim)
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
        killed.add(name)
        return victim
    return None


@pytest.mark.timeout(14400 if LONG else 600)
def test_storm_on_agents_and_runners(server, deployed, tmp_path, draw):
    """A mixture, because an agent waits longer and longer before it starts a runner that keeps dying."""
    api, service = deployed
    api.ready(service, REPLICAS)
    killed = set()
    order = ["agent", "runner"] * KILLS
    draw.shuffle(order)
    with Load(api, service, tmp_path / "runs", 0.005, pace=PACE) as load:
        for kind in order:
            load.wait_more(draw.randrange(1, 60))
            harness.wait_for(f"{REPLICAS} of kind {kind} live", lambda one=kind: kill_one(server, one, draw, killed), 60, 0.02)
        load.wait_more(50)
    waited = timed_verdict(api, load, {"agents": KILLS, "runners": KILLS}, agents_died=True)
    print(f"      leased again after at most {waited:.2f} s; the lease is {LEASE:.0f} s")
    assert waited <= 2 * LEASE * harness.SLOW
