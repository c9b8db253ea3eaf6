# SPDX-License-Identifier: Apache-2.0
"""Notifications as people and functions meet them: raised, grouped, read, visible to members only."""
import http.client
import json
import socket
import sqlite3

import pytest

import harness

CODE = """
class ServiceRunner:
    def run(self):
        return 1
"""
FUNCTIONS = {"run": {}}


@pytest.fixture
def service(plain):
    return plain(CODE, FUNCTIONS, ready=False, active=False)


def tell(api, service, name="DiskFull", message="no space left on device", **more):
    api.post(f"/services/{service['id']}/notify", {"action": "created", "notificationName": name, "message": message, **more})


def listed(api, service, **query):
    return api.get("/notifications", params={"entityId": service["id"], **query})["items"]


class AgentLink(http.client.HTTPConnection):
    """The agents' listener, a unix socket."""

    def __init__(self, server):
        super().__init__("localhost", timeout=30)
        self.path = str(server.data / "agent.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def post(self, path, token, body):
        self.request("POST", path, json.dumps(body), {"authorization": f"Bearer {token}"})
        answer = self.getresponse()
        return answer.status, answer.read()


def agent_token(server, api, service):
    """What an agent of the service was given, out of its folder."""
    replica = api.ready(service["id"])[0]["replicaId"]
    return json.loads((server.data / "run" / replica / "spec.json").read_text())["token"]


# ── raising ──────────────────────────────────────────────────────────────────────────────────


def test_repeats_count_until_somebody_has_read_them(api, service):
    error = "Traceback (most recent call last):\n  File \"main.py\", line 3\nOSError: no space left ✗"
    tell(api, service)
    tell(api, service, message=error, agentInfo={"replicaId": "r1"}, docs="https://example.org/disk")
    one, = listed(api, service)
    assert one["count"] == 2 and one["message"] == error and one["title"] == f"{service['name']} says: DiskFull"
    assert (one["type"], one["level"], one["entityType"], one["entityId"], one["entityName"], one["projectId"]) == (
        "DiskFull", "warning", "service", service["id"], service["name"], service["projectId"])
    assert one["inputs"] == {"action": "created", "agentInfo": {"replicaId": "r1"}, "docs": "https://example.org/disk"}
    assert one["firstAt"] <= one["lastAt"] and one["resolvedAt"] is None and one["read"] is False
    assert "readers" not in one
    assert api.patch(f"/notifications/{one['id']}", {"read": True})["read"] is True
    tell(api, service)
    assert [(each["count"], each["read"]) for each in listed(api, service)] == [(1, False), (2, True)]


def test_dtlpy_raises_one(dl, api, service):
    dl.services._notify(service_id=service["id"], message="it is hot", name="Overheated", agent_info={"replicaId": "r"})
    one, = listed(api, service)
    assert (one["type"], one["message"]) == ("Overheated", "it is hot")


def test_dtlpy_lists_them_as_messages(dl, api, service):
    for name in "AB":
        tell(api, service, name=name, message=f"what {name} says")
    newest, oldest = listed(api, service)
    api.patch(f"/notifications/{oldest['id']}", {"read": True})
    context = {"project": service["projectId"], "service": service["id"]}
    first, second = dl.messages._list(context=context)
    assert (first.notification_code, first.description, first.read, first.new) == ("B", "what B says", 0, 1)
    assert (second.notification_id, second.read, second.resource_action) == (oldest["id"], 1, "created")
    assert (first.title, first.user_id) == (newest["title"], "admin@localhost")
    assert (first.resource_type, first.resource_id, first.resource_name) == ("service", service["id"], service["name"])
    assert first.context.project == service["projectId"] and first.context.service == service["id"]
    query = {"contextExtent": json.dumps(context), "checkpointPagination": json.dumps({"pageSize": 1})}
    page = api.get("/inbox/message/user", params=query)
    assert [one["id"] for one in page["items"]] == [newest["id"]] and page["checkpoint"] == newest["id"]
    query["checkpointPagination"] = json.dumps({"pageSize": 5, "checkpoint": page["checkpoint"]})
    page = api.get("/inbox/message/user", params=query)
    assert [one["id"] for one in page["items"]] == [oldest["id"]] and page["checkpoint"] is None
    for wrong in ("checkpointPagination=7", "contextExtent=x", 'checkpointPagination={"pageSize":0}', 'contextExtent={"project":1}'):
        api.bad(400, "GET", f"/inbox/message/user?{wrong}")


def test_an_agent_raises_one_of_its_own_service_only(api, server, plain, service):
    mine = plain(CODE, FUNCTIONS)
    token, link = agent_token(server, api, mine), AgentLink(server)
    path = f"/api/v1/services/{mine['id']}/notify"
    body = {"action": "created", "message": "the runner is gone", "notificationName": "RunnerLost"}
    assert link.post(path, token, body) == (204, b"")
    one, = listed(api, mine)
    assert (one["type"], one["message"], one["entityId"]) == ("RunnerLost", "the runner is gone", mine["id"])
    status, answer = link.post(path, token, {"message": "what for?"})
    assert status == 400 and b"action is missing" in answer
    assert link.post(f"/api/v1/services/{service['id']}/notify", token, body)[0] == 404
    assert link.post(path, "nonsense", body)[0] == 401
    assert listed(api, service) == []


def test_a_flood_of_ever_new_ones_is_refused(api, service):
    for number in range(20):
        tell(api, service, name=f"Kind{number}")
    refused = api.bad(429, "POST", f"/services/{service['id']}/notify", {"action": "created", "notificationName": "Another"})
    assert "20 notifications within an hour" in refused["message"]
    tell(api, service, name="Kind3")
    assert len(listed(api, service)) == 20 and listed(api, service, type="Kind3")[0]["count"] == 2


@pytest.mark.parametrize("body, path", [
    ({}, "action"), ({"action": ""}, "action"), ({"action": 1}, "action"),
    ({"action": "created", "message": ["x"]}, "message"), ({"action": "created", "notificationName": ""}, "notificationName"),
    ({"action": "created", "notificationName": "x" * 300}, "notificationName"),
    ({"action": "created", "notificationName": "CrashLoopBackOff"}, "notificationName")])
def test_wrong_bodies(api, service, body, path):
    assert api.bad(400, "POST", f"/services/{service['id']}/notify", body)["field"] == path
    assert listed(api, service) == []


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def test_read_and_unread_are_each_persons_own(api, people, service):
    viewer = people("viewer", service["projectId"])
    tell(api, service, name="A")
    tell(api, service, name="B")
    newest, oldest = listed(api, service)
    assert (newest["type"], oldest["type"]) == ("B", "A")
    assert viewer.patch(f"/notifications/{oldest['id']}", {"read": True})["read"] is True
    assert viewer.get(f"/notifications/{oldest['id']}")["read"] is True
    assert api.get(f"/notifications/{oldest['id']}")["read"] is False
    assert [one["type"] for one in listed(viewer, service, unread="true")] == ["B"]
    assert len(listed(api, service, unread="true")) == 2
    assert viewer.patch(f"/notifications/{oldest['id']}", {"read": False})["read"] is False
    unread = viewer.get("/notifications", params={"entityId": service["id"], "unread": "true", "pageSize": 0})
    assert unread["totalItemsCount"] == 2 and unread["items"] == []


def test_all_or_some_at_once(api, people, service, plain):
    viewer, other = people("viewer", service["projectId"]), plain(CODE, FUNCTIONS, ready=False, active=False)
    for name in "ABC":
        tell(api, service, name=name)
    tell(api, other, name="A")
    some = {"filter": {"$and": [{"entityId": service["id"]}, {"type": {"$in": ["A", "B"]}}]}}
    assert viewer.post("/notifications/read", some) == {"marked": 2, "more": False}
    assert viewer.post("/notifications/read", some) == {"marked": 0, "more": False}
    assert [one["type"] for one in listed(viewer, service, unread="true")] == ["C"]
    assert len(listed(viewer, other, unread="true")) == 1
    viewer.post("/notifications/read")
    assert viewer.get("/notifications?unread=true")["items"] == []
    assert len(listed(api, service, unread="true")) == 3


def test_grouped_by_type_and_entity(api, service, plain):
    other = plain(CODE, FUNCTIONS, ready=False, active=False)
    tell(api, service, name="A", message="old")
    first, = listed(api, service)
    api.patch(f"/notifications/{first['id']}", {"read": True})
    tell(api, service, name="A", message="new")
    tell(api, service, name="A", message="newest")
    tell(api, service, name="B")
    tell(api, other, name="A")
    groups = listed(api, service, group="true")
    assert [(one["type"], one["notifications"], one["unread"], one["count"]) for one in groups] == [("B", 1, 1, 1), ("A", 2, 1, 3)]
    assert groups[1]["newest"]["message"] == "newest" and groups[1]["newest"]["count"] == 2
    page = api.get("/notifications", params={"entityId": service["id"], "group": "true", "pageSize": 1, "pageOffset": 1})
    assert [one["type"] for one in page["items"]] == ["A"] and page["totalItemsCount"] == 2 and not page["hasNextPage"]
    assert len(listed(api, other, group="true")) == 1


def test_queries_filters_and_pages(api, service):
    for name in "ABC":
        tell(api, service, name=name)
    query = {"filter": {"$and": [{"entityId": service["id"]}, {"type": {"$ne": "B"}}]}, "sort": {"type": "ascending"}}
    assert [one["type"] for one in api.post("/notifications/query", query)["items"]] == ["A", "C"]
    newest = listed(api, service)[0]
    api.patch(f"/notifications/{newest['id']}", {"read": True})
    assert [one["type"] for one in api.post("/notifications/query", {**query, "unread": True})["items"]] == ["A"]
    page = api.get("/notifications", params={"entityId": service["id"], "pageSize": 2})
    assert page["totalItemsCount"] == 3 and len(page["items"]) == 2 and page["hasNextPage"]
    assert listed(api, service, after=newest["lastAt"]) == [] and len(listed(api, service, after="2020-01-01")) == 3
    assert listed(api, service, level="error") == []
    for wrong in ("after=yesterday", "unread=perhaps", "pageSize=-1"):
        api.bad(400, "GET", f"/notifications?{wrong}")
    api.bad(400, "POST", "/notifications/query", {"filter": {"readers": "admin@localhost"}})
    api.bad(400, "PATCH", f"/notifications/{newest['id']}", {"read": "yes"})
    api.bad(400, "PATCH", f"/notifications/{newest['id']}", {})


# ── who may ──────────────────────────────────────────────────────────────────────────────────


def test_members_see_them_and_nobody_else(api, people, service):
    tell(api, service)
    one, = listed(api, service)
    viewer, nobody = people("viewer", service["projectId"]), people(None, service["projectId"])
    assert len(listed(viewer, service)) == 1
    viewer.bad(403, "POST", f"/services/{service['id']}/notify", {"action": "created"})
    assert nobody.get("/notifications")["items"] == [] and listed(nobody, service) == []
    assert nobody.get("/inbox/message/user")["items"] == []
    assert nobody.post("/notifications/query", {})["items"] == []
    assert nobody.post("/notifications/read") == {"marked": 0, "more": False}
    nobody.bad(404, "GET", f"/notifications/{one['id']}")
    nobody.bad(404, "PATCH", f"/notifications/{one['id']}", {"read": True})
    assert listed(api, service, unread="true") == [one]


def test_they_go_with_their_project(api, unique):
    project = api.post("/projects", {"name": unique("told")})["id"]
    service = harness.deploy_plain(api, project, unique("told"), CODE, FUNCTIONS, active=False)
    tell(api, service)
    api.delete(f"/projects/{project}")
    assert listed(api, service) == []


def test_old_ones_go(own_server):
    server, api = own_server(notification_days="2", collect="1s")
    project = api.post("/projects", {"name": "old"})["id"]
    service = harness.deploy_plain(api, project, "old", CODE, FUNCTIONS, active=False)
    tell(api, service, name="Old")
    tell(api, service, name="Young")
    server.stop()
    with sqlite3.connect(server.data / "drover.db") as database:
        database.execute("UPDATE notifications SET last_at=last_at-3*86400000 WHERE type='Old'")
    server.start()
    harness.wait_for("the old one goes", lambda: [one["type"] for one in listed(api, service)] == ["Young"])
