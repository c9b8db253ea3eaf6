# SPDX-License-Identifier: Apache-2.0
"""Replicas that are taken away with a notice: by an operator, and when a preemptible one has lived long enough."""
import harness

CODE = """
    import os, time
    class ServiceRunner:
        def run(self, folder):
            with open(os.path.join(folder, "starts"), "a") as file:
                file.write("x")
            while not os.path.exists(os.path.join(folder, "go")):
                time.sleep(0.05)
            return "done"
"""
FUNCTIONS = {"run": {"folder": "String"}}


def replicas(api, service):
    return {one["replicaId"] for one in api.get(f"/services/{service}/rollout")["replicas"]}


def preemptions(api, service):
    return api.get(f"/services/{service}/events", params={"reason": "Preempted"})["items"]


def test_an_operator_takes_one_away(own_server, unique, tmp_path):
    """Another one comes at once; what was not finished in the notice runs again, and no attempt is counted."""
    server, api = own_server(preempt_notice="1s")
    project = api.post("/projects", {"name": unique("p")})["id"]
    service = harness.deploy_plain(api, project, unique("s"), CODE, FUNCTIONS, onReset="failed")["id"]
    api.ready(service)
    [replica] = replicas(api, service)
    identity = api.execute(service, value={"folder": str(tmp_path)})["id"]
    harness.wait_for("it runs", lambda: (tmp_path / "starts").exists())
    api.post(f"/replicas/{replica}/preempt")
    harness.wait_for("another one", lambda: replicas(api, service) - {replica}, 10)
    harness.wait_for("it runs again", lambda: (tmp_path / "starts").read_text() == "xx")
    (tmp_path / "go").touch()
    done = api.finished(identity)
    assert done["output"] == "done" and done["attempts"] == 1
    harness.wait_for("the old one is gone", lambda: replica not in replicas(api, service))
    [event] = preemptions(api, service)
    assert event["subject"] == replica and event["inputs"]["cause"] == "operator"
    assert event["inputs"]["noticeMs"] == 1000 and "admin@localhost" in event["message"]
    assert "no replica" in api.bad(404, "POST", "/replicas/65f0a1b2c3d4e5f60718293a/preempt")["message"]


def test_what_is_finished_in_the_notice_is_not_cut_off(own_server, unique, tmp_path):
    server, api = own_server(preempt_notice="30s")
    project = api.post("/projects", {"name": unique("p")})["id"]
    service = harness.deploy_plain(api, project, unique("s"), CODE, FUNCTIONS)["id"]
    api.ready(service)
    [replica] = replicas(api, service)
    identity = api.execute(service, value={"folder": str(tmp_path)})["id"]
    harness.wait_for("it runs", lambda: (tmp_path / "starts").exists())
    api.post(f"/replicas/{replica}/preempt")
    harness.wait_for("another one", lambda: replicas(api, service) - {replica}, 10)
    (tmp_path / "go").touch()
    assert api.finished(identity)["output"] == "done"
    assert (tmp_path / "starts").read_text() == "x"
    harness.wait_for("the old one is gone", lambda: replica not in replicas(api, service))


def test_a_preemptible_one_lives_so_long(own_server, unique):
    server, api = own_server(preempt_after="2s", preempt_notice="1s")
    project = api.post("/projects", {"name": unique("p")})["id"]
    runtime = {"podType": "regular-xs", "concurrency": 1}
    mortal = harness.deploy_plain(api, project, unique("s"), CODE, FUNCTIONS,
                                  runtime={**runtime, "preemptible": True})["id"]
    lasting = harness.deploy_plain(api, project, unique("s"), CODE, FUNCTIONS, runtime=runtime)["id"]
    api.ready(lasting)
    before = replicas(api, lasting)
    events = harness.wait_for("it was preempted twice", lambda: len(preemptions(api, mortal)) > 1 and
                              preemptions(api, mortal), 60)
    assert {one["inputs"]["cause"] for one in events} == {"age"}
    assert all(one["inputs"]["ageMs"] >= 2000 for one in events)
    assert replicas(api, lasting) == before and not preemptions(api, lasting)


def test_only_administrators(api, plain, people):
    service = plain(CODE, FUNCTIONS)
    [replica] = replicas(api, service["id"])
    people("owner", service["projectId"]).bad(403, "POST", f"/replicas/{replica}/preempt")
