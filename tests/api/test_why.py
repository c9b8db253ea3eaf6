# SPDX-License-Identifier: Apache-2.0
"""Why an execution waits, where it runs, how it ended: in sentences that are true now."""
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
        def fail(self):
            raise ValueError("no luck today")
        def fail_at_length(self):
            raise ValueError("no luck today\\nand none\\n\\n  tomorrow")
"""
FUNCTIONS = {"run": {}, "fail": {}, "fail_at_length": {}, "nap": {"seconds": "Number", "mark": "String"}}
BROKEN = """
    raise RuntimeError("this module never loads")
"""


def why(api, kind, identity):
    return " | ".join(api.get(f"/{kind}/{identity}/why")["sentences"])


@pytest.mark.core
def test_queued_and_running(api, plain, tmp_path):
    service = plain(CODE, FUNCTIONS, runtime={"concurrency": 1})
    name = service["id"]
    mark = tmp_path / "mark"
    running = api.execute(name, "nap", {"seconds": 8, "mark": str(mark)}, executionTimeout=500)["id"]
    harness.wait_for("it started", mark.exists)
    waiting = [api.execute(name)["id"] for _ in range(3)]
    text = why(api, "executions", running)
    replica = api.ready(name)[0]["replicaId"]
    assert f"It runs in agent {replica} since" in text and "is over at" in text
    # An agent asks for one more than it runs, so that it need not wait for it.
    text = why(api, "executions", waiting[-1])
    assert f"It waits in the queue of service {service['name']}" in text, text
    assert "of them before it" in text and "slots of the 1 ready agent are busy" in text
    text = why(api, "services", name)
    assert "executions wait" in text and f"Agent {replica} of revision 1.0.0.0 is ready" in text
    for identity in waiting:
        api.finished(identity)


def sentence(api, identity, words):
    return next((one for one in api.get(f"/executions/{identity}/why")["sentences"] if words in one), None)


def test_its_latest_end_stays_over_a_restart_of_the_server(own_server, unique, tmp_path):
    server, api = own_server()
    project = api.post("/projects", {"name": "times"})["id"]
    service = harness.deploy_plain(api, project, unique("slow"), CODE, FUNCTIONS, executionTimeout=500, drainTime=300)["id"]
    api.ready(service)
    mark = tmp_path / "mark"
    identity = api.execute(service, "nap", {"seconds": 90, "mark": str(mark)})["id"]
    harness.wait_for("it is seen to run", lambda: api.execution(identity)["latestStatus"]["status"] == "in-progress")
    before = sentence(api, identity, "executionTimeout, 500 s) is over at")
    server.kill()
    server.start()
    harness.wait_for("its agent has spoken", lambda: sentence(api, identity, "It runs in agent"))
    assert before and sentence(api, identity, "executionTimeout, 500 s) is over at") == before
    api.post(f"/executions/{identity}/terminate")
    forced = sentence(api, identity, "ended by force at")
    assert forced and "drainTime, 300 s" in forced and not sentence(api, identity, "executionTimeout")
    server.kill()
    server.start()
    harness.wait_for("its agent has spoken", lambda: sentence(api, identity, "It runs in agent"))
    assert milliseconds(sentence(api, identity, "ended by force at")) - milliseconds(forced) <= 1000
    api.delete(f"/services/{service}?force=true")


def milliseconds(text):
    return harness.milliseconds(text.split(" at ")[1].split(" ")[0])


def test_paused(api, plain):
    service = plain(CODE, FUNCTIONS)
    api.post(f"/services/{service['id']}/stop")
    identity = api.execute(service["id"])["id"]
    text = harness.wait_for("it waits for the service", lambda: [
        one for one in [why(api, "executions", identity)] if "is paused" in one])[0]
    assert "is paused (last changed by admin@localhost" in text and "drover resume" in text
    assert api.get(f"/services/{service['id']}/why")["status"] == "paused"


def test_no_agent_gets_ready(api, plain):
    service = plain(BROKEN, FUNCTIONS, ready=False)["id"]
    identity = api.execute(service)["id"]
    text = harness.wait_for("the back-off is told", lambda: [
        one for one in [why(api, "executions", identity)] if "starts again in" in one])[0]
    assert "No agent of service" in text and "this module never loads" in text


def test_ended(api, plain, server, tmp_path):
    service = plain(CODE, FUNCTIONS, onReset="rerun", maxAttempts=2)["id"]
    identity = api.run(service)["id"]
    assert "It ended with success at" in why(api, "executions", identity)
    identity = api.run(service, "fail")["id"]
    text = why(api, "executions", identity)
    assert "It ended with failed" in text and "no luck today" in text
    identity = api.run(service, "fail_at_length")["id"]
    said = next(one for one in api.get(f"/executions/{identity}/why")["sentences"] if "reason" in one)
    assert said.endswith("no luck today\n  and none\n  tomorrow"), said
    mark = tmp_path / "mark"
    identity = api.execute(service, "nap", {"seconds": 2, "mark": str(mark)})["id"]
    harness.wait_for("it started", mark.exists)
    os.kill(server.supervisors()[api.ready(service)[0]["replicaId"]]["agentPid"], signal.SIGKILL)
    api.finished(identity)
    text = why(api, "executions", identity)
    assert "An attempt ended at" in text and "its agent was ended by signal 9 (Killed)" in text and "2 attempts were counted, 2 are allowed" in text


def test_who_may(api, plain, people):
    service = plain(CODE, FUNCTIONS)
    identity = api.run(service["id"])["id"]
    nobody = people(None, service["projectId"])
    nobody.bad(404, "GET", f"/services/{service['id']}/why")
    nobody.bad(404, "GET", f"/executions/{identity}/why")
    api.bad(404, "GET", "/executions/0123456789abcdef01234567/why")
