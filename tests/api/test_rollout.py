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


def test_a_change_that_fails_and_the_way_back(api, plain):
    service = plain(CODE, FUNCTIONS, init={"word": "String"}, initParams={"word": "first"})["id"]
    api.patch(f"/services/{service}", {"initParams": {"word": "bad"}})
    failing = rollout(api, service, "failing")
    assert failing["failing"] >= 1 and "this word is not good" in failing["message"]
    assert any(one["failing"] and one["updated"] for one in failing["replicas"])
    back = api.post(f"/services/{service}/rollback")
    assert back["version"] == "1.0.2" and back["initParams"] == {"word": "first"}
    rollout(api, service, "complete")
    assert api.run(service)["output"] == "first"
    event = api.get(f"/services/{service}/events", params={"reason": "RolledBack"})["items"][0]
    assert event["subject"] == "1.0.2" and "revision 1.0.0" in event["message"]
    assert api.bad(409, "POST", f"/services/{service}/rollback", {"revision": "1.0.0"})
    assert api.bad(404, "POST", f"/services/{service}/rollback", {"revision": "9.9.9"})
    assert api.post(f"/services/{service}/rollback", {"revision": "1.0.1"})["initParams"] == {"word": "bad"}


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
