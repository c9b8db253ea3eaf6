# SPDX-License-Identifier: Apache-2.0
"""How far a change has come, what each revision changed, and the way back."""
import pytest

import harness

CODE = """
    class ServiceRunner:
        def __init__(self, word="first"):
            self.word = word
            if word == "bad":
                raise RuntimeError("this word is not good")
        def run(self):
            return self.word
"""
FUNCTIONS = {"run": {}}


def rollout(api, service, state, seconds=60):
    return harness.wait_for(f"the rollout is {state}", lambda: [
        one for one in [api.get(f"/services/{service}/rollout")] if one["state"] == state], seconds)[0]


@pytest.mark.core
def test_a_change_comes_through(api, plain):
    service = plain(CODE, FUNCTIONS, init={"word": "String"}, initParams={"word": "first"})["id"]
    done = rollout(api, service, "complete")
    assert (done["revision"], done["wanted"], done["ready"], done["old"]) == ("1.0.0", 1, 1, 0)
    api.patch(f"/services/{service}", {"initParams": {"word": "second"}})
    done = rollout(api, service, "complete")
    assert done["revision"] == "1.0.1" and "all 1 replicas run revision 1.0.1" in done["message"]
    assert api.run(service)["output"] == "second"
    api.post(f"/services/{service}/stop")
    assert rollout(api, service, "paused")["wanted"] == 0
    api.post(f"/services/{service}/resume")
    rollout(api, service, "complete")


def events(api, service, reason):
    return api.get(f"/services/{service}/events", params={"reason": reason})["items"]


def told(api, service):
    return [one for one in api.get("/notifications", params={"pageSize": 1000})["items"] if one["entityId"] == service]


@pytest.mark.core
def test_a_change_that_fails_goes_back_by_itself(api, plain):
    """The old agents serve on all the time, and stay."""
    service = plain(CODE, FUNCTIONS, init={"word": "String"}, initParams={"word": "first"})["id"]
    rollout(api, service, "complete")
    before = api.replicas(service)
    harness.wait_for("the first revision is good", lambda: events(api, service, "RolloutComplete"))
    api.patch(f"/services/{service}", {"initParams": {"word": "bad"}})
    failing = rollout(api, service, "failing")
    assert failing["failing"] >= 1 and "this word is not good" in failing["message"]
    assert any(one["failing"] and one["updated"] for one in failing["replicas"])
    assert api.run(service)["output"] == "first"
    halted = harness.wait_for("the rollout is halted", lambda: events(api, service, "RolloutHalted"))[0]
    assert halted["subject"] == "1.0.1" and halted["level"] == "warning"
    inputs = halted["inputs"]
    assert (inputs["type"], inputs["failures"], inputs["goodRevision"]) == ("init", 3, "1.0.0")
    assert inputs["changes"] == {"initParams": {"before": {"word": "first"}, "after": {"word": "bad"}}}
    done = rollout(api, service, "complete")
    assert done["revision"] == "1.0.2" and api.replicas(service) == before
    assert api.get(f"/services/{service}")["initParams"] == {"word": "first"}
    assert api.run(service)["output"] == "first"
    assert len(events(api, service, "RolledBack")) == 1
    [note] = told(api, service)
    assert note["type"] == "RolledBack" and "went back to revision 1.0.0" in note["title"]
    text = note["message"]
    assert "RuntimeError: this word is not good" in text and "3 times in a row (memory limit: " in text
    assert 'initParams: {"word": "first"} -> {"word": "bad"}' in text


def test_the_way_back_by_hand(api, plain):
    service = plain(CODE, FUNCTIONS, init={"word": "String"}, initParams={"word": "first"})["id"]
    api.patch(f"/services/{service}", {"initParams": {"word": "second"}})
    rollout(api, service, "complete")
    back = api.post(f"/services/{service}/rollback")
    assert back["version"] == "1.0.2" and back["initParams"] == {"word": "first"}
    rollout(api, service, "complete")
    assert api.run(service)["output"] == "first"
    event = api.get(f"/services/{service}/events", params={"reason": "RolledBack"})["items"][0]
    assert event["subject"] == "1.0.2" and "revision 1.0.0" in event["message"]
    assert api.bad(409, "POST", f"/services/{service}/rollback", {"revision": "1.0.0"})
    assert api.bad(404, "POST", f"/services/{service}/rollback", {"revision": "9.9.9"})
    assert api.post(f"/services/{service}/rollback", {"revision": "1.0.1"})["initParams"] == {"word": "second"}


@pytest.mark.core
@pytest.mark.server_errors("agent|runner|init")
def test_what_cannot_start_is_deactivated(own_server, unique):
    """Once, with the exact error; a person's resume begins to count anew."""
    server, api = own_server(crash_failures="2")
    project = api.post("/projects", {"name": unique("p")})["id"]
    service = harness.deploy_plain(api, project, unique("s"), CODE, FUNCTIONS, init={"word": "String"},
                                   initParams={"word": "bad"})["id"]

    def stopped():
        return events(api, service, "Deactivated")

    identity = api.execute(service)["id"]
    event = harness.wait_for("the service is deactivated", stopped)[0]
    assert (event["inputs"]["type"], event["inputs"]["failures"]) == ("init", 2)
    row = api.get(f"/services/{service}")
    assert row["active"] is False and row["crashloop"]["action"] == "deactivate"
    assert api.execution(identity)["latestStatus"]["status"] == "created"
    harness.wait_for("no agents", lambda: not api.replicas(service))
    api.post(f"/services/{service}/resume")
    assert not api.get(f"/services/{service}").get("crashloop")
    harness.wait_for("it is deactivated again", lambda: len(stopped()) == 2)
    assert stopped()[0]["inputs"]["failures"] == 2
    notes = told(api, service)
    assert [one["type"] for one in notes] == ["CrashLoopBackOff"] * 2, "one for each incident"
    assert "this word is not good" in notes[0]["message"] and notes[1]["resolvedAt"] and not notes[0]["resolvedAt"]
    api.patch(f"/services/{service}", {"initParams": {"word": "better"}})
    api.post(f"/services/{service}/resume")
    assert api.finished(identity)["output"] == "better"


def test_one_replica_that_serves_keeps_the_service(own_server, unique):
    """A start that fails now and then backs off, and deactivates nothing."""
    server, api = own_server(crash_failures="2")
    project = api.post("/projects", {"name": unique("p")})["id"]
    flag = server.folder / "fail"
    code = f"""
        import os
        class ServiceRunner:
            def __init__(self):
                if os.path.exists({str(flag)!r}):
                    raise RuntimeError("not now")
            def run(self):
                return "here"
    """
    service = harness.deploy_plain(api, project, unique("s"), code, FUNCTIONS,
                                   runtime={"podType": "regular-xs", "numReplicas": 1})["id"]
    api.ready(service)
    flag.touch()
    api.patch(f"/services/{service}", {"runtime": {"podType": "regular-xs", "numReplicas": 2}})
    harness.wait_for("the new one fails", lambda: [
        one for one in api.get(f"/services/{service}/rollout")["replicas"] if one["restartCount"] > 3])
    assert api.run(service)["output"] == "here" and api.get(f"/services/{service}")["active"]
    flag.unlink()
    api.ready(service, 2)


def test_force_cuts_off_and_counts_nothing(api, plain, tmp_path):
    service = plain(harness.WAITING_CODE, harness.WAITING_FUNCTIONS, onReset="failed")["id"]
    identity = api.execute(service, value={"folder": str(tmp_path)})["id"]
    harness.wait_for("it runs", lambda: (tmp_path / "starts").exists())
    before = api.replicas(service)
    assert api.patch(f"/services/{service}?force=true", {"executionTimeout": 600})["version"] == "1.0.1"
    harness.wait_for("it runs again", lambda: (tmp_path / "starts").read_text() == "xx")
    harness.wait_for("the old one is gone", lambda: not before & api.replicas(service))
    (tmp_path / "go").touch()
    done = api.finished(identity)
    assert done["output"] == "done" and done["attempts"] == 1


def test_a_drain_lets_finish(api, plain, tmp_path):
    service = plain(harness.WAITING_CODE, harness.WAITING_FUNCTIONS, onReset="failed")["id"]
    identity = api.execute(service, value={"folder": str(tmp_path)})["id"]
    harness.wait_for("it runs", lambda: (tmp_path / "starts").exists())
    api.patch(f"/services/{service}", {"executionTimeout": 600})
    harness.wait_for("the old one drains", lambda: "draining" in {
        one["state"] for one in api.get(f"/services/{service}/rollout")["replicas"]})
    other = tmp_path / "other"
    other.mkdir()
    (other / "go").touch()
    assert api.run(service, value={"folder": str(other)})["output"] == "done"  # by the new one
    (tmp_path / "go").touch()
    assert api.finished(identity)["output"] == "done"
    rollout(api, service, "complete")
    assert (tmp_path / "starts").read_text() == "x"


def test_history(api, plain):
    service = plain(CODE, FUNCTIONS, init={"word": "String"}, initParams={"word": "first"})
    identity = service["id"]
    assert "one revision only" in api.bad(404, "POST", f"/services/{identity}/rollback")["message"]
    api.patch(f"/services/{identity}", {"initParams": {"word": "second"}})
    api.patch(f"/services/{identity}", {"runtime": {**service["runtime"], "concurrency": 2}})
    history = api.get(f"/services/{identity}/rollout/history")
    assert [one["revision"] for one in history] == ["1.0.2", "1.0.1", "1.0.0"]
    assert history[1]["changes"] == {"initParams": {"before": {"word": "first"}, "after": {"word": "second"}}}
    assert list(history[0]["changes"]) == ["runtime"] and history[2]["changes"] == {}
    assert history[0]["creator"] == "admin@localhost"


def test_who_may(api, plain, people):
    service = plain(CODE, FUNCTIONS)
    name, project = service["id"], service["projectId"]
    viewer, nobody = people("viewer", project), people(None, project)
    assert viewer.get(f"/services/{name}/rollout")["wanted"] == 1
    viewer.bad(403, "POST", f"/services/{name}/rollback")
    nobody.bad(404, "GET", f"/services/{name}/rollout")
    nobody.bad(404, "GET", f"/services/{name}/rollout/history")
    nobody.bad(404, "POST", f"/services/{name}/rollback")
