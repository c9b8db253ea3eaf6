# SPDX-License-Identifier: Apache-2.0
"""Every route with every role. What is wanted comes from `drover routes`: which scope and which role
a route asks for. Who has less gets 403 (without a token 401); who has enough gets anything else."""
import json
import subprocess

import pytest

import harness

ORDER = ["none", "viewer", "developer", "owner", "admin"]
UNDER_API = "/api/v1"


def routes():
    program = harness.BUILD / "drover"
    if not program.exists():
        return []
    return json.loads(subprocess.run([str(program), "routes"], check=True, capture_output=True).stdout)


ROUTES = routes()
PROTECTED = [route for route in ROUTES if route["scope"] != "public"]
PROJECTED = [route for route in PROTECTED if route["scope"] not in ("caller", "admin")]

# These would change what other cases use.
TELLING = ("/rerun", "/stop", "/resume", "/restart")
WRITING = [route for route in PROJECTED if route["method"] in ("POST", "PATCH", "PUT")
           and not route["path"].endswith(TELLING)]


def name(route):
    return f"{route['method']} {route['path']}"


def test_there_are_routes():
    assert len(ROUTES) > 50
    assert len({(route["method"], route["path"]) for route in ROUTES}) == len(ROUTES)
    assert len({route["operationId"] for route in ROUTES}) == len(ROUTES)


@pytest.fixture(scope="module")
def world(api, dl, unique_world):
    """A project with one of each thing, a fresh one of which each call may use up."""
    project = api.post("/projects", {"name": unique_world})
    service = harness.deploy_plain(api, project["id"], "target", "class ServiceRunner:\n    def run(self, value):\n"
                                   "        return value\n", {"run": {"value": "Json"}, "see": {"item": "Item"}}, active=False)
    dataset = api.post("/datasets", {"name": "target", "projectId": project["id"]})
    item = harness.upload(api, dataset["id"], "/target.txt", b"x").json()
    execution = api.execute(service["id"], "run", {"value": 1})
    command = api.post(f"/executions/{service['id']}", {"functionName": "see", "batch": {"query": {
        "filter": {"$and": [{"name": "no such"}]}, "resource": "items", "context": {"datasets": [dataset["id"]]}},
        "args": {}}})
    yield {"project": project["id"], "dataset": dataset["id"], "item": item["id"], "package": service["packageId"],
           "service": service["id"], "execution": execution["id"], "command": command["id"], "body.projectId": project["id"]}
    api.delete(f"/projects/{project['id']}")


@pytest.fixture(scope="module")
def unique_world():
    import uuid
    return f"roles-{uuid.uuid4().hex[:8]}"


def filled(route, world):
    """The path with the first parameter naming the thing of the route's scope, others nothing real."""
    parts = route["path"].removeprefix(UNDER_API).split("/")
    first = True
    for at, part in enumerate(parts):
        if not part.startswith("{"):
            continue
        parts[at] = world.get(route["scope"], "0" * 24) if first else "0" * 24
        first = False
    return "/".join(parts)


def call(who, route, world):
    """A call that is refused for its body or for what it names before it changes anything."""
    more = {"allow_redirects": False, "timeout": 30}
    if route["body"] == "stream":
        more["files"] = [("nonsense", (None, "x"))]
    elif route["body"] != "none":
        more["json"] = {"nonsense": 1}
        if route["scope"] == "body.projectId":
            more["json"] = {"projectId": world["project"]}
    return who.call(route["method"], filled(route, world), **more)


@pytest.mark.parametrize("route", PROTECTED, ids=name)
def test_without_a_token(server, world, route):
    answer = call(harness.Api(server, None), route, world)
    assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("route, role", [
    pytest.param(route, role, id=f"{role} {name(route)}") for route in PROJECTED for role in ("none", "viewer", "developer")
    if ORDER.index(role) < ORDER.index(route["role"])])
def test_too_small_a_role(people, world, route, role):
    answer = call(people(None if role == "none" else role, world["project"]), route, world)
    # Who may not see the thing at all does not even learn that it is there.
    assert answer.status_code == (404 if role == "none" else 403), answer.text
    assert answer.json()["message"]


def masked(answer, *names):
    text = json.dumps({key: value for key, value in answer.json().items() if key != "requestId"})
    for name in names:
        text = text.replace(name, "…")
    return answer.status_code, text


@pytest.mark.parametrize("route", PROJECTED, ids=name)
def test_what_is_hidden_looks_like_nothing(people, world, route):
    """An outsider cannot tell another's thing from one that does not exist, nor learn its project's id."""
    nobody = people(None, world["project"])
    absent = {kind: "0" * 24 for kind in world}
    there, not_there = call(nobody, route, world), call(nobody, route, absent)
    named = world[route["scope"]]
    assert masked(there, named) == masked(not_there, "0" * 24)
    assert there.status_code == 404 and (world["project"] not in there.text or named == world["project"])


def test_a_project_is_hidden_by_its_name_too(people, api, world):
    name = api.get(f"/projects/{world['project']}")["name"]
    error = people(None, world["project"]).bad(404, "GET", f"/projects/{name}")
    assert error["message"] == f"There is no project {name}"


@pytest.mark.parametrize("kind, key", [("service", "serviceId"), ("execution", "executionId"), ("project", "projectId")])
def test_logs_of_others_are_hidden(people, world, kind, key):
    error = people(None, world["project"]).bad(404, "POST", "/services/logs", {key: world[kind]})
    assert error["message"] == f"There is no {kind} {world[kind]}"


@pytest.mark.parametrize("route", [route for route in ROUTES if route["body"].startswith("json") and route["role"] != "none"
                                   and route["scope"] != "body.projectId" or route["scope"] == "admin"], ids=name)
@pytest.mark.parametrize("body", ["{not JSON", "5", '{"email": 5, "name": 5, "role": "king"}'])
def test_the_role_comes_before_the_body(people, world, route, body):
    role = "viewer" if ORDER.index(route["role"]) > 1 else None
    more = {"headers": {"content-type": "application/json"}, "data": body, "timeout": 30}
    answer = people(role, world["project"]).call(route["method"], filled(route, world), **more)
    assert answer.status_code == (403 if role or route["scope"] == "admin" else 404), answer.text


@pytest.mark.parametrize("route", [route for route in ROUTES if route["scope"] == "admin"], ids=name)
def test_administrators_only(people, world, route):
    assert call(people("owner", world["project"]), route, world).status_code == 403


@pytest.mark.parametrize("route", [route for route in PROJECTED if route["method"] == "GET"], ids=name)
def test_enough_for_reading(people, world, route):
    answer = call(people(route["role"], world["project"]), route, world)
    assert answer.status_code not in (401, 403, 500), answer.text


@pytest.mark.parametrize("route", WRITING, ids=name)
def test_enough_for_writing(people, world, route):
    answer = call(people(route["role"], world["project"]), route, world)
    assert answer.status_code not in (401, 403, 500), answer.text


@pytest.mark.parametrize("kind, path", [
    ("service", "/services/{}"), ("package", "/packages/{}"), ("dataset", "/datasets/{}"), ("item", "/items/{}"),
    ("execution", "/executions/{}"), ("command", "/commands/{}")])
def test_nothing_leaks_into_lists(people, world, kind, path):
    """Somebody without a role finds nothing of the project by any list."""
    nobody = people(None, world["project"])
    for resource in ("packages", "services", "executions"):
        page = nobody.post("/query/faas", {"filter": {"projectId": world["project"]}, "page": 0, "pageSize": 10,
                                           "resource": resource})
        assert page["items"] == [] and page["totalItemsCount"] == 0
    answer = nobody.call("GET", path.format(world[kind]))
    assert answer.status_code == 404


def test_a_service_acts_only_in_its_project(api, project, world, plain):
    """The token that functions get opens their own project and no other."""
    code = "import os, json, urllib.request\n" \
           "class ServiceRunner:\n    def run(self, value):\n        return dict(os.environ)\n"
    service = plain(code, {"run": {"value": "Json"}})
    environment = api.run(service["id"], "run", {"value": 1})["output"]
    secrets = (api.server.data / "jwt-key").read_bytes()
    assert not any(api.session.headers["authorization"].split()[1] in value for value in environment.values())
    assert secrets.hex() not in json.dumps(environment)
