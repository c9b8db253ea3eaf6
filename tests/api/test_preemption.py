# SPDX-License-Identifier: Apache-2.0
"""Replicas that are taken away with a notice: by an operator, and when a preemptible one has lived long enough."""
import harness
from harness import WAITING_CODE, WAITING_FUNCTIONS


def preemptions(api, service):
    return api.get(f"/services/{service}/events", params={"reason": "Preempted"})["items"]


def test_an_operator_takes_one_away(own_server, unique, tmp_path):
    """Another one comes at once; what was not finished in the notice runs again, and no attempt is counted."""
    server, api = own_server(preempt_notice="1s")
    project = api.post("/projects", {"name": unique("p")})["id"]
    service = harness.deploy_plain(api, project, unique("s"), WAITING_CODE, WAITING_FUNCTIONS, onReset="failed")["id"]
    api.ready(service)
    [replica] = api.replicas(service)
    identity = api.execute(service, value={"folder": str(tmp_path)})["id"]
    harness.wait_for("it runs", lambda: (tmp_path / "starts").exists())
    api.post(f"/replicas/{replica}/preempt")
    harness.wait_for("another one", lambda: api.replicas(service) - {replica}, 10)
    harness.wait_for("it runs again", lambda: (tmp_path / "starts").read_text() == "xx")
    (tmp_path / "go").touch()
    done = api.finished(identity)
    assert done["output"] == "done" and done["attempts"] == 1
    harness.wait_for("the old one is gone", lambda: replica not in api.replicas(service))
    [event] = preemptions(api, service)
    assert event["subject"] == replica and event["inputs"]["cause"] == "operator"
    assert event["inputs"]["noticeMs"] == 1000 and "admin@localhost" in event["message"]
    assert "no replica" in api.bad(404, "POST", "/replicas/65f0a1b2c3d4e5f60718293a/preempt")["message"]


def test_what_is_finished_in_the_notice_is_not_cut_off(own_server, unique, tmp_path):
    server, api = own_server(preempt_notice="30s")
    project = api.post("/projects", {"name": unique("p")})["id"]
    service = harness.deploy_plain(api, project, unique("s"), WAITING_CODE, WAITING_FUNCTIONS)["id"]
    api.ready(service)
    [replica] = api.replicas(service)
    identity = api.execute(service, value={"folder": str(tmp_path)})["id"]
    harness.wait_for("it runs", lambda: (tmp_path / "starts").exists())
    api.post(f"/replicas/{replica}/preempt")
    harness.wait_for("another one", lambda: api.replicas(service) - {replica}, 10)
    (tmp_path / "go").touch()
    assert api.finished(identity)["output"] == "done"
    assert (tmp_path / "starts").read_text() == "x"
    harness.wait_for("the old one is gone", lambda: replica not in api.replicas(service))


def test_a_preemptible_one_lives_so_long(own_server, unique):
    server, api = own_server(preempt_after="2s", preempt_notice="1s")
    project = api.post("/projects", {"name": unique("p")})["id"]
    runtime = {"podType": "regular-xs", "concurrency": 1}
    mortal = harness.deploy_plain(api, project, unique("s"), WAITING_CODE, WAITING_FUNCTIONS,
                                  runtime={**runtime, "preemptible": True})["id"]
    lasting = harness.deploy_plain(api, project, unique("s"), WAITING_CODE, WAITING_FUNCTIONS, runtime=runtime)["id"]
    api.ready(lasting)
    before = api.replicas(lasting)
    events = harness.wait_for("it was preempted twice", lambda: len(preemptions(api, mortal)) > 1 and
                              preemptions(api, mortal), 60)
    assert {one["inputs"]["cause"] for one in events} == {"age"}
    assert all(one["inputs"]["ageMs"] >= 2000 for one in events)
    assert api.replicas(lasting) == before and not preemptions(api, lasting)


def test_only_administrators(api, plain, people):
    service = plain(WAITING_CODE, WAITING_FUNCTIONS)
    [replica] = api.replicas(service["id"])
    people("owner", service["projectId"]).bad(403, "POST", f"/replicas/{replica}/preempt")
