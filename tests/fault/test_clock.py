# SPDX-License-Identifier: Apache-2.0
"""The wall clock of the server steps by an hour and by a day, there and back, under load: leases,
timers and back-off do not mind, ids and pages stay in order, tokens are good for as long as they say,
and housekeeping deletes nothing that is young."""
import time

import pytest

import counting
import faults
import harness

HOUR, DAY = 3600 * 1000, 24 * 3600 * 1000


@pytest.fixture
def server(tmp_path):
    # Housekeeping every second, with a grace of ten minutes: less than any step.
    server = faults.Server(tmp_path / "server", **{"collect": "1s", "collect-grace": "10m"}).start()
    yield server
    server.control.set(clock_ms=0)
    problems = server.close() + server.complaints()
    assert not problems, "\n".join(problems)


def step(server, load, by):
    server.control.set(clock_ms=by)
    load.wait_more(60)
    time.sleep(1.5)  # a round of housekeeping and half a lease


STEPS = [HOUR, 0, -HOUR, 0, DAY, 0, -DAY, HOUR, -DAY, 0]


@pytest.mark.timeout(300)
def test_clock_steps(server, tmp_path):
    api, service = counting.deploy(server)
    project = api.get(f"/services/{service}")["projectId"]
    dataset = api.post("/datasets", {"name": "data", "projects": [project]})["id"]
    # Code that no package names yet: young, so housekeeping has to leave it alone.
    query = {"filter": {"$and": [{"name": "Binaries"}]}, "context": {"projects": [project]}, "systemSpace": True,
             "page": 0, "pageSize": 10, "resource": "datasets"}
    binaries = api.post("/datasets/query", query)["items"][0]["id"]
    young = harness.upload(api, binaries, "/codebases/young/0.zip", b"x" * 1000).json()["id"]
    replicas = set(server.supervisors())
    with counting.Load(api, service, tmp_path / "runs", 0.005) as load:
        load.wait_more(60)
        long = api.execute(service, value={"folder": str(load.folder), "number": 10**6, "seconds": 15})
        load.accepted[long["id"]] = 10**6
        for by in STEPS:
            step(server, load, by)
            assert api.get(f"/items/{young}")["id"] == young, f"deleted after a step to {by} ms"
            assert api.get(f"/datasets/{dataset}")["id"] == dataset
    counting.verdict(api, load, len(STEPS), False, "steps of the clock")
    assert set(server.supervisors()) == replicas, "an agent was taken for silent"
    order = list(load.accepted)
    order.remove(long["id"])
    assert order == sorted(order) and len(set(order)) == len(order), "ids went back with the clock"
    pages(api, service, load)


def pages(api, service, load):
    """By id, page by page: everything, once, in order."""
    found, page = [], 0
    while True:
        answer = api.post("/query/faas", {"filter": {"serviceId": service}, "page": page, "pageSize": 100,
                                          "resource": "executions", "sort": {"id": "ascending"}})
        found += [one["id"] for one in answer["items"]]
        if not answer["hasNextPage"]:
            break
        page += 1
    assert found == sorted(found) and set(load.accepted) <= set(found) and len(found) == len(set(found))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("by", [-DAY, DAY])
def test_back_off_and_restart_under_another_clock(server, tmp_path, by):
    """A replica that waits for its next start starts in time; so does a server under another clock."""
    api, service = counting.deploy(server)
    with counting.Load(api, service, tmp_path / "runs") as load:
        load.wait_more(20)
        for ids in server.supervisors().values():
            faults.kill(ids["pid"])
        server.control.set(clock_ms=by)
        load.wait_more(20)
        api.ready(service, seconds=30)
        server.kill()
        server.control.set(clock_ms=0)
        server.start()
        api.ready(service, seconds=30)
        load.wait_more(20)
    assert list(load.accepted) == sorted(load.accepted), "ids went back over a restart"
    counting.verdict(api, load, 1, True, f"step of the clock by {by // HOUR} h with a restart")
