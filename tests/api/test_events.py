# SPDX-License-Identifier: Apache-2.0
"""What happens to a service is told: deployments, agents, lost executions; repeats are counted."""
import os
import signal

import pytest

import harness

CODE = """
    import os, time
    class ServiceRunner:
        def run(self):
            return os.getpid()
        def nap(self, seconds, mark):
            open(mark, "w").close()
            time.sleep(seconds)
"""
FUNCTIONS = {"run": {}, "nap": {"seconds": "Number", "mark": "String"}}
BROKEN = """
    raise RuntimeError("this module never loads")
"""


def events(api, service, **query):
    return api.get(f"/services/{service}/events", params=query)["items"]


def reasons(api, service):
    return [one["reason"] for one in reversed(events(api, service))]


def event(api, service, reason, seconds=30):
    """The newest event of that reason, once there is one."""
    return harness.wait_for(f"event {reason}", lambda: events(api, service, reason=reason), seconds)[0]


@pytest.mark.core
def test_the_life_of_a_service(api, plain):
    service = plain(CODE, FUNCTIONS)
    name = service["id"]
    assert event(api, name, "AgentReady")["level"] == "info"
    assert event(api, name, "RolloutComplete")["subject"] == "1.0.0"
    told = reasons(api, name)  # the last two are of one moment
    assert told[:2] == ["Deployed", "AgentStarted"] and set(told[2:]) == {"AgentReady", "RolloutComplete"}
    deployed = event(api, name, "Deployed")
    assert deployed["subject"] == "1.0.0" and deployed["kind"] == "service" and deployed["count"] == 1
    assert deployed["projectId"] == service["projectId"] and deployed["firstAt"] == deployed["lastAt"]
    assert event(api, name, "AgentReady")["inputs"]["startMs"] > 0

    api.patch(f"/services/{name}", {"runtime": {**service["runtime"], "concurrency": 3}})
    updated = event(api, name, "Updated")
    assert "from revision 1.0.0 to 1.0.1" in updated["message"] and updated["subject"] == "1.0.1"
    assert updated["inputs"]["runtime"]["after"]["concurrency"] == 3
    assert event(api, name, "DrainEnded")["kind"] == "replica"
    api.post(f"/services/{name}/stop")
    assert event(api, name, "Paused")["message"].startswith("paused by admin@localhost")
    api.post(f"/services/{name}/resume")
    event(api, name, "Resumed")
    api.ready(name)


def test_normal_executions_make_no_events(api, plain):
    service = plain(CODE, FUNCTIONS)["id"]
    event(api, service, "RolloutComplete")
    before = reasons(api, service)
    for _ in range(20):
        assert api.run(service)["latestStatus"]["status"] == "success"
    assert reasons(api, service) == before


def test_a_killed_agent_and_what_it_ran(api, server, plain, tmp_path):
    service = plain(CODE, FUNCTIONS, onReset="rerun", maxAttempts=3)["id"]
    mark = tmp_path / "mark"
    identity = api.execute(service, "nap", {"seconds": 3, "mark": str(mark)})["id"]
    harness.wait_for("it started", mark.exists)
    replica = api.ready(service)[0]["replicaId"]
    os.kill(server.supervisors()[replica]["agentPid"], signal.SIGKILL)
    killed = event(api, service, "AgentKilled")
    assert killed["level"] == "warning" and killed["subject"] == replica
    assert "signal 9" in killed["message"] and killed["inputs"]["exitCode"] == 137
    assert 0 < killed["inputs"]["backoffMs"] <= 200, "it is started again after --backoff-first"
    lost = event(api, service, "ExecutionsRequeued")
    assert lost["inputs"]["requeued"] == 1 and lost["inputs"]["executions"] == [identity]
    assert api.finished(identity)["latestStatus"]["status"] == "success"


def test_a_silent_agent(api, server, plain, tmp_path):
    service = plain(CODE, FUNCTIONS, onReset="failed")["id"]
    mark = tmp_path / "mark"
    api.execute(service, "nap", {"seconds": 60, "mark": str(mark)})
    harness.wait_for("it started", mark.exists)
    replica = api.ready(service)[0]["replicaId"]
    os.kill(server.supervisors()[replica]["agentPid"], signal.SIGSTOP)
    expired = event(api, service, "LeaseExpired", 60)
    assert expired["subject"] == replica and expired["inputs"]["leaseMs"] == 3000
    assert "silent for a lease time" in event(api, service, "AgentKilled", 60)["message"]
    assert event(api, service, "ExecutionsFailed")["inputs"]["failed"] == 1


def test_repeats_are_counted(api, plain):
    service = plain(BROKEN, FUNCTIONS, ready=False)["id"]
    failed = harness.wait_for("it failed three times", lambda: [
        one for one in events(api, service, reason="AgentFailed") if one["count"] >= 3], 60)
    assert len(failed) == 1, "one row, however often"
    assert failed[0]["firstAt"] < failed[0]["lastAt"] and "starts again in" in failed[0]["message"]
    start = events(api, service, reason="StartFailed")
    assert len(start) == 1 and "this module never loads" in start[0]["message"]


def test_pages_filters_and_who_may_look(api, plain, people):
    service = plain(CODE, FUNCTIONS)
    name, project = service["id"], service["projectId"]
    event(api, name, "RolloutComplete")
    page = api.get(f"/services/{name}/events", params={"pageSize": 3, "pageOffset": 1})
    assert page["totalItemsCount"] == 4 and len(page["items"]) == 1 and not page["hasNextPage"]
    assert {one["kind"] for one in events(api, name, kind="replica")} == {"replica"}
    newest = events(api, name)[0]
    assert events(api, name, after=newest["lastAt"]) == []
    assert events(api, name, after="2020-01-01") == events(api, name)
    api.bad(400, "GET", f"/services/{name}/events?after=yesterday")
    api.bad(400, "GET", f"/services/{name}/events?pageSize=-1")
    assert any(one["serviceId"] == name for one in api.get("/events", params={"projectId": project})["items"])
    viewer, nobody = people("viewer", project), people(None, project)
    assert events(viewer, name) == events(api, name)
    nobody.bad(404, "GET", f"/services/{name}/events")
    assert nobody.get("/events")["items"] == []
    assert nobody.get("/events", params={"projectId": project})["items"] == []


def test_events_outlive_their_service_but_not_their_project(api, plain, unique):
    project = api.post("/projects", {"name": unique("events")})["id"]
    service = harness.deploy_plain(api, project, unique("gone"), CODE, FUNCTIONS)["id"]
    api.ready(service)
    api.call("DELETE", f"/services/{service}?force=true")
    harness.wait_for("it is told", lambda: [
        one for one in api.get("/events", params={"projectId": project})["items"] if one["reason"] == "Deleted"])
    api.delete(f"/projects/{project}")
    assert api.get("/events", params={"serviceId": service})["items"] == []


def test_events_are_kept_by_number(own_server, unique):
    server, api = own_server(event_max="100", collect="1s")
    project = api.post("/projects", {"name": "many"})["id"]
    service = harness.deploy_plain(api, project, "many", CODE, FUNCTIONS)["id"]
    for i in range(110):
        api.patch(f"/services/{service}", {"maxAttempts": 2 + i % 2})
    harness.wait_for("old events go", lambda: api.get("/events")["totalItemsCount"] <= 101)
    assert events(api, service)[0]["reason"] in ("Updated", "AgentStarted", "AgentReady")
