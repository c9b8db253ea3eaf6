# SPDX-License-Identifier: Apache-2.0
"""The same user code with a process for each execution (runExecutionAsProcess): that execution fails with
the exact reason, the others of its service and the loaded module notice nothing, and nothing of it stays."""
import contextlib
import re
import time

import pytest

import harness
from faults import LONG
from test_hostile_code import RETURNED, enforced, place  # noqa: F401 (a fixture)

PRINTED = 10_000_000_000 if LONG else 100_000_000


@contextlib.contextmanager
def service_of(place, alone=True, **settings):
    """A service whose module is loaded once, whatever happens, with an execution that runs beside it all."""
    settings = {"runExecutionAsProcess": True, "executionTimeout": 600, **settings}
    with place.service(alone=alone, **settings) as service:
        loaded = place.api.run(service, "image")["output"]
        yield service
        assert place.api.run(service, "image")["output"] == loaded, "the module was loaded again"


GARBAGE = r"process ended: signal 9 .*; .*frame"
ENDS = [  # function, input, what the error says
    ("close", {}, r"process ended: exit code 1"),
    ("close_all", {}, r"process ended: exit code 1"),
    ("garbage", {}, GARBAGE),
    ("nonsense", {}, GARBAGE + ".*JSON"),
    ("huge", {"size": RETURNED}, r"output .*--max-output"),
    ("recurse", {}, r"maximum recursion depth exceeded"),
    ("overflow", {}, r"process ended: signal 11 \(Segmentation fault\)"),
    ("leave", {"code": 0}, r"process ended: exit code 0"),
    ("leave", {"code": 3}, r"process ended: exit code 3"),
    ("system_exit", {}, r"I am done"),
    ("interrupt", {}, r"enough"),
    ("allocate_limited", {}, r"MemoryError"),
]


@pytest.mark.timeout(1800)
def test_it_fails_with_the_reason_and_alone(place):
    """One after the other in one service, beside an execution that runs through it all."""
    runtime = {"concurrency": 3, "podType": "regular-l"}
    with service_of(place, runtime=runtime) as service:
        beside = place.api.execute(service, "ignore")["id"]
        harness.wait_for("it runs", lambda: place.api.status_of(beside) == "in-progress")
        for function, given, says in ENDS:
            execution = place.api.run(service, function, given, seconds=600)
            told = execution["latestStatus"]
            print(f"\n    {function}: {told['status']}: {told['error']['type']}: {told['error']['message'][:200]}")
            assert told["status"] == "failed" and re.search(says, told["error"]["message"]), told
            assert execution["attempts"] == 1
            harness.wait_for("its last line is there", lambda one=execution["id"]: place.lines(one)[-1:] == [
                "[Done] Executing function."], 30)
        assert place.api.status_of(beside) == "in-progress", "its neighbour runs on"
        place.api.post(f"/executions/{beside}/terminate")
        assert place.api.finished(beside)["latestStatus"]["status"] == "terminated"


@pytest.mark.parametrize("function", ["ignore", "deadlock"])
def test_a_timeout(place, function):
    with service_of(place, executionTimeout=8) as service:
        told = place.api.run(service, function, seconds=120)["latestStatus"]
        assert told["status"] == "failed" and told["error"]["type"] == "TimeoutError", told
        assert "ran longer than 8 s (executionTimeout)" in told["error"]["message"]


def processes_of(place):
    return {int(line.split(":")[0]) for line in place.server.processes()}


@pytest.mark.timeout(600)
def test_nothing_of_it_stays(place, tmp_path):
    """A daemon in a session of its own, a program that ignores SIGTERM, 300 forks."""
    with service_of(place) as service:
        note = str(tmp_path / "pid")
        assert place.api.run(service, "daemon", {"note": note})["output"] == "started"
        assert place.api.run(service, "bomb", {"count": 300})["output"] == 300
        stubborn = place.api.execute(service, "ignore")["id"]
        harness.wait_for("it runs", lambda: place.api.status_of(stubborn) == "in-progress")
        time.sleep(1)
        place.api.post(f"/executions/{stubborn}/terminate")
        place.api.finished(stubborn)
        # The neighbour's and this one's: supervisor, agent, image, spares.
        harness.wait_for("nothing of them is left", lambda: len(processes_of(place)) < 30, 60, 0.5)


def test_forged_results_are_ignored(place):
    """Of an execution of the same service: its process has a socket of its own."""
    with service_of(place) as service:
        victim = place.api.execute(service, "ignore")["id"]
        harness.wait_for("it runs", lambda: place.api.status_of(victim) == "in-progress")
        execution = place.api.run(service, "forge", {"other": victim})
        assert execution["latestStatus"]["status"] == "success" and execution["output"] == "forged", execution["latestStatus"]
        assert place.api.status_of(victim) == "in-progress"
        place.api.post(f"/executions/{victim}/terminate")
        ended = place.api.finished(victim)
        assert ended["latestStatus"]["status"] == "terminated" and ended.get("output") is None


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("function", ["flood", "flood_below", "endless_line"])
def test_a_flood_of_output(place, function):
    with service_of(place, executionTimeout=3000) as service:
        told = place.api.run(service, function, {"size": PRINTED}, seconds=3000)
        assert told["latestStatus"]["status"] == "success" and told["output"] == "said", told["latestStatus"]
        assert told["usage"]["peakMemoryKib"] < 200 << 10


def test_it_changes_its_process(place):
    """What it does to its own streams and signals, the next one does not see."""
    with service_of(place) as service:
        assert place.api.run(service, "replace")["output"] == "replaced"
        execution = place.api.run(service, "hello")
        assert execution["output"] == "hello"
        harness.wait_for("its line is there", lambda: "hello" in place.lines(execution["id"]), 30)


@pytest.mark.skipif(not enforced(), reason="no memory cgroup (v1) to write here")
@pytest.mark.timeout(300)
def test_more_memory_than_its_type_has(place):
    with service_of(place, runtime={"podType": "regular-xs", "concurrency": 2}) as service:
        execution = place.api.run(service, "allocate", seconds=120)
        told = execution["latestStatus"]
        assert told["status"] == "failed" and told["error"]["type"] == "OutOfMemory", told
        assert "signal 9 (Killed); it used more memory than its pod type has" in told["error"]["message"]
        assert execution["usage"]["signal"] == 9
