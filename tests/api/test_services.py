# SPDX-License-Identifier: Apache-2.0
"""Services: deploy, change, pause, restart, delete, and every wrong setting refused by its name."""
import concurrent.futures
import os
import shutil
import time

import pytest

import harness

CODE = """
    import os, time
    class ServiceRunner:
        def run(self, value):
            return value
        def pid(self):
            return os.getpid()
        def nap(self, seconds):
            time.sleep(seconds)
            return os.getpid()
"""
FUNCTIONS = {"run": {"value": "Json"}, "pid": {}, "nap": {"seconds": "Number"}}


@pytest.mark.core
def test_deploy_get_list(dl, project, service):
    assert dl.services.get(service_id=service.id).name == "workhorse"
    assert project.services.get(service_name="workhorse").id == service.id
    assert service.id in [one.id for page in project.services.list() for one in page]
    assert service.active and service.module_name == "workhorse" and service.init_input == {"greeting": "Hello"}
    assert service.package.name == "workhorse"
    assert service.runtime.concurrency == 10 and service.runtime.num_replicas == 1
    assert service.execution_timeout == 3600 and service.max_attempts == 3


def test_status(dl, service):
    status = service.status()
    assert status["numMessagesInQueue"] == 0
    assert [one["status"] for one in status["runtimeStatus"]] == [True]
    assert {"replicaId", "createdAt", "restartCount"} <= set(status["runtimeStatus"][0])


def test_deploy_again_updates(dl, api, project, package, unique):
    name = unique("again")
    settings = {"service_name": name, "package": package, "init_input": {"greeting": "a"}, "is_global": False}
    first = project.services.deploy(**settings, runtime=dl.KubernetesRuntime(concurrency=2))
    second = project.services.deploy(**settings, runtime=dl.KubernetesRuntime(concurrency=5))
    assert second.id == first.id and second.runtime.concurrency == 5
    second.delete(force=True)


def test_update_and_revisions(dl, api, plain):
    made = plain(CODE, FUNCTIONS)
    service = dl.services.get(service_id=made["id"])
    before = api.run(service.id, "pid")["output"]
    service.execution_timeout = 1234
    service = service.update()
    assert service.execution_timeout == 1234 and service.version != made["version"]

    def replaced():
        execution = api.run(service.id, "pid")
        return execution["latestStatus"]["status"] == "success" and execution["output"] != before
    harness.wait_for("the agent is replaced", replaced, 60, 0.2)
    versions = [one["version"] for one in api.get(f"/services/{service.id}/revisions")]
    assert made["version"] in versions and service.version in versions


def test_scaling_keeps_agents(api, plain):
    service = plain(CODE, FUNCTIONS)
    before = {one["replicaId"] for one in api.get(f"/services/{service['id']}/status")["runtimeStatus"]}
    updated = api.patch(f"/services/{service['id']}", {"runtime": {**service["runtime"], "numReplicas": 3}})
    assert updated["runtime"]["numReplicas"] == 3
    after = {one["replicaId"] for one in api.ready(service["id"], 3)}
    assert before <= after
    api.patch(f"/services/{service['id']}", {"runtime": {**service["runtime"], "numReplicas": 1}})
    harness.wait_for("one agent is left", lambda: sum(
        one["status"] for one in api.get(f"/services/{service['id']}/status")["runtimeStatus"]) == 1, 30)


@pytest.mark.core
def test_pause_keeps_the_queue(dl, api, plain):
    made = plain(CODE, FUNCTIONS)
    service = dl.services.get(service_id=made["id"])
    service.pause()
    assert dl.services.get(service_id=service.id).active is False
    harness.wait_for("the agents end", lambda: not any(
        one["status"] for one in api.get(f"/services/{service.id}/status")["runtimeStatus"]))
    queued = [api.execute(service.id, "run", {"value": n})["id"] for n in range(5)]
    assert {api.status_of(one) for one in queued} == {"created"}
    assert api.get(f"/services/{service.id}/status")["numMessagesInQueue"] == 5
    service.resume()
    assert [api.finished(one)["output"] for one in queued] == list(range(5))


def test_pause_lets_running_ones_end(api, plain):
    service = plain(CODE, FUNCTIONS)
    running = api.execute(service["id"], "nap", {"seconds": 1.5})["id"]
    harness.wait_for("it runs", lambda: api.status_of(running) == "in-progress")
    api.post(f"/services/{service['id']}/stop")
    assert api.finished(running)["latestStatus"]["status"] == "success"


def test_restart(dl, api, plain):
    service = plain(CODE, FUNCTIONS)
    before = api.run(service["id"], "pid")["output"]
    dl.services.get(service_id=service["id"]).restart()
    harness.wait_for("another process answers", lambda: api.run(service["id"], "pid")["output"] not in (before, None),
                     60, 0.2)


def test_restart_of_one_replica(api, plain):
    """A name that is wrong restarts nothing: neither that replica nor all of them."""
    service = plain(CODE, FUNCTIONS)
    path = f"/services/{service['id']}"
    before = api.run(service["id"], "pid")["output"]
    for key in ("replicaName", "replicaId"):
        for wrong in (5, "", {}, ["x"], True):
            assert api.bad(400, "POST", f"{path}/restart", {key: wrong})["field"] == key
        assert api.bad(400, "POST", f"{path}/restart?{key}=")["field"] == key
        assert "no-such-replica" in api.bad(404, "POST", f"{path}/restart", {key: "no-such-replica"})["message"]
        assert "no-such-replica" in api.bad(404, "POST", f"{path}/restart?{key}=no-such-replica")["message"]
    assert api.run(service["id"], "pid")["output"] == before
    replica = api.get(f"{path}/status")["runtimeStatus"][0]["replicaId"]
    assert api.bad(400, "POST", f"{path}/restart", {"replicaName": replica, "replicaId": "x"})["field"] == "replicaId"
    assert api.bad(400, "POST", f"{path}/restart?replicaName=x", {"replicaName": replica})["field"] == "replicaName"
    assert api.run(service["id"], "pid")["output"] == before
    for names in ({"replicaName": replica}, {"replicaId": replica}, {"replicaName": replica, "replicaId": replica}):
        before = api.run(service["id"], "pid")["output"]
        api.post(f"{path}/restart", names)
        harness.wait_for("another process answers",
                         lambda: api.run(service["id"], "pid")["output"] not in (before, None), 60, 0.2)
        assert api.get(f"{path}/status")["runtimeStatus"][0]["replicaId"] == replica


def test_restart_loses_nothing(api, plain):
    service = plain(CODE, FUNCTIONS, runtime={"concurrency": 2})
    wanted = [api.execute(service["id"], "nap", {"seconds": 0.3})["id"] for _ in range(10)]
    api.post(f"/services/{service['id']}/restart", {})
    assert {api.finished(one)["latestStatus"]["status"] for one in wanted} == {"success"}


def test_new_package_revision(api, project, plain):
    service = plain(CODE, FUNCTIONS)
    package = api.get(f"/packages/{service['packageId']}")
    binaries = api.post("/datasets/query", {"filter": {"$and": [{"name": "Binaries"}]}, "page": 0, "pageSize": 10,
                                            "context": {"projects": [project.id]}, "systemSpace": True})["items"][0]
    code = harness.plain_code(CODE.replace("return value", "return ['new', value]"))
    item = harness.upload(api, binaries["id"], f"/codebases/{package['name']}/1.zip", code).json()
    newer = api.patch(f"/packages/{package['id']}", {**package, "codebase": {"type": "item", "itemId": item["id"]}})
    assert newer["version"] == "1.0.1"
    assert api.run(service["id"], "run", {"value": 1})["output"] == 1, "services keep the revision that they were given"
    api.patch(f"/services/{service['id']}", {"packageRevision": "1.0.1"})
    harness.wait_for("the new code answers",
                     lambda: api.run(service["id"], "run", {"value": 1})["output"] == ["new", 1], 60, 0.2)


def test_delete(dl, api, plain):
    made = plain(CODE, FUNCTIONS)
    queued = api.execute(made["id"], "nap", {"seconds": 30})["id"]
    assert dl.services.get(service_id=made["id"]).delete(force=True)
    api.bad(404, "GET", f"/services/{made['id']}")
    api.bad(404, "POST", f"/executions/{made['id']}", {"functionName": "run", "input": {"value": 1}})
    assert api.call("GET", f"/executions/{queued}").status_code in (200, 404)


def test_deletion_drains(api, server, plain, tmp_path):
    """What runs may finish, what is queued is cancelled, and then the agents are gone."""
    service = plain(CODE, FUNCTIONS, runtime={"concurrency": 1})
    pid = api.run(service["id"], "pid")["output"]
    running = api.execute(service["id"], "nap", {"seconds": 4})["id"]
    harness.wait_for("it runs", lambda: api.status_of(running) == "in-progress")
    queued = [api.execute(service["id"], "nap", {"seconds": 4})["id"] for _ in range(5)]
    command = api.delete(f"/services/{service['id']}")
    assert api.finished(running)["latestStatus"]["status"] == "success"
    for identity in queued:
        assert api.finished(identity)["latestStatus"]["status"] == "canceled"
    harness.wait_for("the runner ends", lambda: not os.path.exists(f"/proc/{pid}"), 20)
    harness.wait_for("the command ends", lambda: api.get(f"/commands/{command['id']}")["status"] == "success", 20)


def test_a_waiting_call_outlives_its_service(api, plain):
    """Who waits for an accepted execution is told of its end, whatever becomes of the service."""
    service = plain(CODE, FUNCTIONS)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.call, "POST", f"/executions/{service['id']}?waitUntilExecutionIsFinished=true",
                              {"functionName": "nap", "input": {"seconds": 3}})
        time.sleep(1)
        api.delete(f"/services/{service['id']}")
        answer = waiting.result(60)
    assert answer.ok and answer.json()["latestStatus"]["status"] == "success", answer.text


def test_deletion_by_force_cuts(api, plain):
    service = plain(CODE, FUNCTIONS)
    running = api.execute(service["id"], "nap", {"seconds": 60})["id"]
    harness.wait_for("it runs", lambda: api.status_of(running) == "in-progress")
    api.delete(f"/services/{service['id']}?force=true")
    assert api.finished(running, 20)["latestStatus"]["status"] in ("aborted", "failed")


@pytest.mark.parametrize("query, body", [("?force=true", None), ("", {"force": True})])
def test_a_pause_by_force_says_so(api, plain, query, body):
    service = plain(CODE, FUNCTIONS, onReset="failed")
    running = api.execute(service["id"], "nap", {"seconds": 60})["id"]
    harness.wait_for("it runs", lambda: api.status_of(running) == "in-progress")
    for wrong in ("yes", 1, {}):
        for verb in ("stop", "resume"):
            assert api.bad(400, "POST", f"/services/{service['id']}/{verb}", {"force": wrong})["field"] == "force"
    assert api.post(f"/services/{service['id']}/resume", {"force": None})["active"]
    api.post(f"/services/{service['id']}/stop{query}", body)
    cut = harness.wait_for("it is queued again", lambda: [
        one for one in [api.execution(running)] if one["latestStatus"]["status"] == "rerun"], 20)[0]
    assert "by force" in cut["latestStatus"]["message"] and cut["attempts"] == 0, cut
    api.post(f"/services/{service['id']}/resume")
    harness.wait_for("it runs again", lambda: api.status_of(running) == "in-progress")


def test_a_paused_queue_is_counted_after_a_restart(own_server):
    server, api = own_server()
    project = api.post("/projects", {"name": "p"})
    service = harness.deploy_plain(api, project["id"], "waiting", CODE, FUNCTIONS, active=False)
    for _ in range(3):
        api.execute(service["id"], "pid")
    server.kill()
    server.start()
    assert api.get(f"/services/{service['id']}/status")["numMessagesInQueue"] == 3


def test_replicas_that_are_gone_are_not_shown(own_server):
    """Also when the server died before it wrote that they are gone."""
    server, api = own_server()
    project = api.post("/projects", {"name": "p"})
    service = harness.deploy_plain(api, project["id"], "ghost", CODE, FUNCTIONS)
    api.ready(service["id"])
    server.kill()
    server.stop_agents()
    for folder in (server.data / "run").iterdir():
        shutil.rmtree(folder)
    server.start()
    api.post(f"/services/{service['id']}/stop?force=true")
    harness.wait_for("nothing is shown",
                     lambda: api.get(f"/services/{service['id']}/status")["runtimeStatus"] == [], 20)


def test_deleted_services_agents_end(api, server, plain):
    service = plain(CODE, FUNCTIONS)
    pid = api.run(service["id"], "pid")["output"]
    api.delete(f"/services/{service['id']}?force=true")
    harness.wait_for("the runner ends", lambda: not os.path.exists(f"/proc/{pid}"), 20)


def test_not_found(dl, project, api):
    with pytest.raises(dl.exceptions.NotFound):
        project.services.get(service_name="no-such-service")
    api.bad(404, "GET", f"/services/{'0' * 24}")
    api.bad(404, "GET", "/services/nonsense")


# ── what is refused ──────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def idle(api, project):
    """A paused service to change wrongly."""
    service = harness.deploy_plain(api, project.id, "idle", CODE, FUNCTIONS, active=False)
    yield service
    api.delete(f"/services/{service['id']}")


SCALER = {"type": "rabbitmq", "minReplicas": 0, "maxReplicas": 3, "queueLength": 10, "cooldownPeriod": 300,
          "pollingInterval": 10}


def scaler(**change):
    return {"autoscaler": {**SCALER, **change}}


@pytest.mark.parametrize("runtime, field", [
    (5, "runtime"),
    ([], "runtime"),
    ({"concurrency": 0}, "runtime.concurrency"),
    ({"concurrency": -1}, "runtime.concurrency"),
    ({"concurrency": 1.5}, "runtime.concurrency"),
    ({"concurrency": "10"}, "runtime.concurrency"),
    ({"concurrency": 100000}, "runtime.concurrency"),
    ({"concurrency": 2**70}, "runtime.concurrency"),
    ({"numReplicas": -1}, "runtime.numReplicas"),
    ({"numReplicas": "two"}, "runtime.numReplicas"),
    ({"numReplicas": 10**9}, "runtime.numReplicas"),
    ({"podType": "enormous"}, "runtime.podType"),
    ({"podType": 5}, "runtime.podType"),
    ({"preemptible": "yes"}, "runtime.preemptible"),
    ({"singleAgent": 5}, "runtime.singleAgent"),
    ({"dynamicConcurrency": "no"}, "runtime.dynamicConcurrency"),
    ({"runnerImage": 5}, "runtime.runnerImage"),
    ({"runnerImage": "two words"}, "runtime.runnerImage"),
    ({"autoscaler": 5}, "runtime.autoscaler"),
    (scaler(type="horoscope"), "runtime.autoscaler.type"),
    (scaler(minReplicas=-1), "runtime.autoscaler.minReplicas"),
    (scaler(minReplicas=5), "runtime.autoscaler.minReplicas"),
    (scaler(maxReplicas=0), "runtime.autoscaler.maxReplicas"),
    (scaler(queueLength=0), "runtime.autoscaler.queueLength"),
    (scaler(queueLength="x"), "runtime.autoscaler.queueLength"),
    (scaler(cooldownPeriod=-1), "runtime.autoscaler.cooldownPeriod"),
    (scaler(pollingInterval=0), "runtime.autoscaler.pollingInterval"),
    (scaler(type="cpu", threshold=500), "runtime.autoscaler.threshold"),
])
def test_bad_runtime(api, idle, runtime, field):
    error = api.bad(400, "PATCH", f"/services/{idle['id']}", {"runtime": runtime})
    assert error["field"] == field and field in error["message"]
    assert api.get(f"/services/{idle['id']}")["runtime"] == idle["runtime"]


@pytest.mark.parametrize("change, field", [
    ({"name": ""}, "name"),
    ({"name": 5}, "name"),
    ({"name": "another"}, "name"),
    ({"executionTimeout": 0}, "executionTimeout"),
    ({"executionTimeout": "1h"}, "executionTimeout"),
    ({"drainTime": -1}, "drainTime"),
    ({"maxAttempts": 0}, "maxAttempts"),
    ({"onReset": "explode"}, "onReset"),
    ({"runExecutionAsProcess": "yes"}, "runExecutionAsProcess"),
    ({"moduleName": "none such"}, "moduleName"),
    ({"packageRevision": "9.9.9"}, "packageRevision"),
    ({"packageId": "0" * 24}, "packageId"),
    ({"versions": {"dtlpy": "1.0; rm -rf /"}}, "versions.dtlpy"),
    ({"versions": {"dtlpy": 5}}, "versions.dtlpy"),
    ({"initParams": {"unknown": 1}}, "initParams"),
    ({"initParams": 5}, "initParams"),
    ({"secrets": ["0" * 24]}, "secrets[0]"),
])
def test_bad_settings(api, idle, change, field):
    error = api.bad(400, "PATCH", f"/services/{idle['id']}", change)
    assert error["field"] == field, error


def test_the_same_name_may_stand_there(dl, api, idle):
    """dtlpy sends whole services back."""
    assert api.patch(f"/services/{idle['id']}", {"name": idle["name"]})["name"] == idle["name"]
    assert api.patch(f"/services/{idle['id']}", {"name": None})["name"] == idle["name"]
    assert dl.services.get(service_id=idle["id"]).update().name == idle["name"]


def test_long_timeout_is_allowed_with_a_warning(api, idle):
    answer = api.call("PATCH", f"/services/{idle['id']}", {"executionTimeout": 2500001})
    assert answer.status_code == 200
    assert "2500000" in (answer.text + str(answer.headers)).replace(",", "")
    api.patch(f"/services/{idle['id']}", {"executionTimeout": 3600})


def test_a_scaler_that_dtlpy_cannot_read_is_warned_of(dl, api, idle):
    plain = api.patch(f"/services/{idle['id']}", {"runtime": {**idle["runtime"], **scaler()}})
    assert ["does not scale" in one for one in plain["warnings"]] == [True] and dl.services.get(service_id=idle["id"]).runtime.autoscaler
    cpu = {"autoscaler": {"type": "cpu", "minReplicas": 0, "maxReplicas": 3, "threshold": 50}}
    warned = api.patch(f"/services/{idle['id']}", {"runtime": {**idle["runtime"], **cpu}})
    assert ["dtlpy" in one for one in warned["warnings"]] == [False, True]
    with pytest.raises(NotImplementedError):
        dl.services.get(service_id=idle["id"])
    api.patch(f"/services/{idle['id']}", {"runtime": idle["runtime"]})


def test_name_is_taken(api, people, project, idle):
    body = {"name": idle["name"], "projectId": project.id, "packageId": idle["packageId"]}
    people("developer", project.id).bad(409, "POST", "/services", body)


def test_missing_init_input(api, project, package):
    body = {"name": "no-greeting", "projectId": project.id, "packageId": package.id, "initParams": {}}
    error = api.bad(400, "POST", "/services", body)
    assert error["field"] == "initParams" and "greeting" in error["message"]


def test_broken_code_is_told(api, plain):
    service = plain("raise RuntimeError('broken at import')", FUNCTIONS, ready=False)

    def told():
        status = api.get(f"/services/{service['id']}/status")["runtimeStatus"]
        return [one for one in status if "broken at import" in str(one.get("message"))]
    found = harness.wait_for("the status says why", told, 30)
    assert not found[0]["status"]


def test_broken_init_is_told(api, plain):
    code = "class ServiceRunner:\n    def __init__(self):\n        raise ValueError('no key in the drawer')\n" \
           "    def run(self, value):\n        pass\n"
    service = plain(code, {"run": {"value": "Json"}}, ready=False)
    harness.wait_for("the status says why", lambda: "no key in the drawer" in api.call(
        "GET", f"/services/{service['id']}/status").text, 30)
