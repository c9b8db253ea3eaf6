# SPDX-License-Identifier: Apache-2.0
"""What becomes of executions when agents and runners die: onReset, maxAttempts, process mode."""
import os
import signal
import time

import pytest

import harness

CODE = """
    import os, time, pathlib
    class ServiceRunner:
        def pid(self):
            return os.getpid()
        def nap(self, seconds, mark):
            with open(mark, "a") as file:
                file.write("started\\n")
            time.sleep(seconds)
            with open(mark, "a") as file:
                file.write("ended\\n")
            return "rested"
        def leave(self):
            os._exit(3)
        def crash(self):
            import ctypes
            ctypes.string_at(0)
"""
FUNCTIONS = {"pid": {}, "nap": {"seconds": "Number", "mark": "String"}, "leave": {}, "crash": {}}


def agent_of(api, service):
    replica = api.ready(service["id"])[0]["replicaId"]
    return api.server.supervisors()[replica]


def marks(path):
    return path.read_text().split() if path.exists() else []


@pytest.mark.core
def test_rerun_after_the_agent_is_killed(api, plain, tmp_path):
    service = plain(CODE, FUNCTIONS, onReset="rerun", maxAttempts=3)
    mark = tmp_path / "mark"
    identity = api.execute(service["id"], "nap", {"seconds": 2, "mark": str(mark)})["id"]
    harness.wait_for("it started", lambda: marks(mark))
    os.kill(agent_of(api, service)["agentPid"], signal.SIGKILL)
    execution = api.finished(identity, 60)
    assert execution["latestStatus"]["status"] == "success" and execution["output"] == "rested"
    assert execution["attempts"] == 2
    assert not execution["latestStatus"]["message"], "why the first attempt ended is not what the second one says"
    assert marks(mark) == ["started", "started", "ended"]


def test_failed_after_the_agent_is_killed(api, plain, tmp_path):
    service = plain(CODE, FUNCTIONS, onReset="failed")
    mark = tmp_path / "mark"
    identity = api.execute(service["id"], "nap", {"seconds": 30, "mark": str(mark)})["id"]
    harness.wait_for("it started", lambda: marks(mark))
    os.kill(agent_of(api, service)["agentPid"], signal.SIGKILL)
    execution = api.finished(identity, 60)
    assert execution["latestStatus"]["status"] == "failed"
    assert execution["latestStatus"]["error"]["message"] or execution["latestStatus"]["message"]
    assert marks(mark) == ["started"]
    api.ready(service["id"])
    assert api.run(service["id"], "pid")["latestStatus"]["status"] == "success"


def test_attempts_are_bounded(api, plain):
    service = plain(CODE, FUNCTIONS, onReset="rerun", maxAttempts=2)
    execution = api.run(service["id"], "leave", seconds=90)
    assert execution["latestStatus"]["status"] == "failed" and execution["attempts"] == 2
    assert "3" in str(execution["latestStatus"]), "the exit code is told"


def test_crash_is_told(api, plain):
    service = plain(CODE, FUNCTIONS, onReset="failed")
    execution = api.run(service["id"], "crash", seconds=90)
    assert execution["latestStatus"]["status"] == "failed"
    assert "signal 11" in str(execution["latestStatus"]) or "SIGSEGV" in str(execution["latestStatus"])


def test_supervisor_and_agent_killed(api, plain, tmp_path):
    service = plain(CODE, FUNCTIONS, onReset="rerun")
    mark = tmp_path / "mark"
    runner = api.run(service["id"], "pid")["output"]
    identity = api.execute(service["id"], "nap", {"seconds": 2, "mark": str(mark)})["id"]
    harness.wait_for("it started", lambda: marks(mark))
    ids = agent_of(api, service)
    os.kill(ids["pid"], signal.SIGKILL)
    harness.wait_for("nothing of it is left", lambda: not os.path.exists(f"/proc/{ids['agentPid']}")
                     and not os.path.exists(f"/proc/{runner}"), 10)
    assert api.finished(identity, 60)["latestStatus"]["status"] == "success"


def test_running_ones_survive_a_restart_of_the_server(own_server, tmp_path, unique):
    """The agent carries on while the server is away, and its result is recorded afterwards."""
    server, api = own_server()
    project = api.post("/projects", {"name": "p"})
    service = harness.deploy_plain(api, project["id"], "survivor", CODE, FUNCTIONS)
    api.ready(service["id"])
    mark = tmp_path / "mark"
    running = api.execute(service["id"], "nap", {"seconds": 2.5, "mark": str(mark)})["id"]
    harness.wait_for("it started", lambda: marks(mark))
    server.kill()
    server.start()
    execution = api.finished(running, 60)
    assert execution["latestStatus"]["status"] == "success" and execution["output"] == "rested"
    assert marks(mark) == ["started", "ended"] and execution["attempts"] == 1
    assert api.run(service["id"], "pid")["latestStatus"]["status"] == "success"


@pytest.mark.parametrize("leave", ["pause", "delete"])
def test_a_drain_outlives_the_server(own_server, tmp_path, leave):
    """What runs while its service is paused or deleted is finished, also when the server is restarted meanwhile."""
    server, api = own_server()
    project = api.post("/projects", {"name": "p"})
    service = harness.deploy_plain(api, project["id"], "leaving", CODE, FUNCTIONS, onReset="failed")
    api.ready(service["id"])
    mark = tmp_path / "mark"
    running = api.execute(service["id"], "nap", {"seconds": 6, "mark": str(mark)})["id"]
    harness.wait_for("it runs", lambda: api.status_of(running) == "in-progress")
    if leave == "pause":
        api.post(f"/services/{service['id']}/stop")
    else:
        api.delete(f"/services/{service['id']}")
    time.sleep(0.3)
    server.kill()
    server.start()
    execution = api.finished(running, 60)
    assert execution["latestStatus"]["status"] == "success" and execution["output"] == "rested", execution["latestStatus"]
    assert marks(mark) == ["started", "ended"]
    harness.wait_for("the agent has ended", lambda: not server.supervisors(), 20)


def test_the_sdk_follows_the_server(own_server, tmp_path):
    """An agent that outlives its server at another address starts its runner anew with that."""
    server, api = own_server()
    project = api.post("/projects", {"name": "p"})
    text = """
        import os
        class ServiceRunner:
            def where(self):
                return os.environ.get("INTERNAL_REQUESTS_URL")
    """
    service = harness.deploy_plain(api, project["id"], "mover", text, {"where": {}}, versions={})
    api.ready(service["id"])
    assert api.run(service["id"], "where")["output"] == f"{server.url}/api/v1"
    server.stop()
    server.port = harness.free_port()
    server.url = f"http://127.0.0.1:{server.port}"
    server.start()
    harness.wait_for("the new address is used",
                     lambda: api.run(service["id"], "where", seconds=120)["output"] == f"{server.url}/api/v1", 120, 0.3)


def test_timeout(api, plain, tmp_path):
    service = plain(CODE, FUNCTIONS, executionTimeout=1, drainTime=1, onReset="failed")
    execution = api.run(service["id"], "nap", {"seconds": 60, "mark": str(tmp_path / "mark")}, seconds=60)
    assert execution["latestStatus"]["status"] == "failed"
    assert "time" in str(execution["latestStatus"]).lower()
    api.ready(service["id"])
    assert api.run(service["id"], "pid", seconds=60)["latestStatus"]["status"] == "success"


@pytest.mark.server_errors("cannot start|failed to start|is started again|crash")
def test_an_init_that_hangs(api, plain):
    """It is ended after executionTimeout, with the reason in the service's status and log."""
    service = plain("""
        import time
        class ServiceRunner:
            def __init__(self):
                time.sleep(3600)
            def run(self):
                pass
        """, {"run": {}}, ready=False, executionTimeout=1)

    def told():
        status = api.get(f"/services/{service['id']}/status")["runtimeStatus"]
        return [one for one in status if "executionTimeout" in (one["message"] or "")]

    assert not harness.wait_for("the status says why", told, 30)[0]["status"]


def test_rerun_after_an_end_from_outside(api, plain, tmp_path):
    """The rerun waits for the old run to end, and runs by itself; what the old one returns is refused."""
    service = plain(CODE, FUNCTIONS)
    mark = tmp_path / "mark"
    identity = api.execute(service["id"], "nap", {"seconds": 2, "mark": str(mark)})["id"]
    harness.wait_for("it started", lambda: marks(mark))
    api.post(f"/executions/{identity}/progress", {"status": "failed", "message": "somebody said so"})
    assert api.status_of(identity) == "failed"
    assert api.post(f"/executions/{identity}/rerun")["id"] == identity
    execution = api.finished(identity, 60)
    assert execution["latestStatus"]["status"] == "success" and execution["output"] == "rested"
    assert marks(mark) == ["started", "ended", "started", "ended"]


def test_restart_of_one_replica(api, plain):
    service = plain(CODE, FUNCTIONS)
    before = api.run(service["id"], "pid")["output"]
    api.post(f"/services/{service['id']}/restart", {"replicaName": api.ready(service["id"])[0]["replicaId"]})
    harness.wait_for("another runner answers", lambda: api.run(service["id"], "pid")["output"] not in (before, None), 30, 0.2)
