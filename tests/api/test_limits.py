# SPDX-License-Identifier: Apache-2.0
"""Limits are options: a server with small ones refuses, and says which; what was accepted before
goes on."""
import pytest

import harness

SMALL = {"max_name": "32", "max_field": "2KiB", "max_filter_terms": "8", "max_filter_depth": "3", "max_page_size": "10",
         "max_functions": "2", "max_requirements": "2", "max_replicas": "3", "max_concurrency": "4", "max_bulk": "5",
         "max_answer": "1MiB"}
FUNCTION = {"name": "run", "input": [{"name": "value", "type": "Json"}], "output": []}
CODE = "class ServiceRunner:\n    def run(self, value):\n        return value\n\n    a = b = run\n"
GIT = {"type": "git", "gitUrl": "https://example.org/code.git"}


def started(folder, **options):
    server = harness.Server(folder, **options).start()
    return server, harness.Api(server, (server.data / "admin-key").read_text().strip())


def ended(server):
    problems = server.close() + server.complaints()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    server, api = started(tmp_path_factory.mktemp("limits"), **SMALL)
    yield api
    ended(server)


@pytest.fixture(scope="module")
def place(small):
    return small.post("/projects", {"name": "limits"})["id"]


def package(place, **more):
    return {"name": "code", "projectId": place, "codebase": GIT, "modules": [{"functions": [FUNCTION]}], **more}


def functions(count):
    return [{"functions": [dict(FUNCTION, name=f"f{n}") for n in range(count)]}]


def nested(levels):
    return {"name": "x"} if levels == 1 else {"$and": [nested(levels - 1)]}


def test_small_things_pass(small, place):
    made = small.post("/packages", package(place, metadata={"text": "x" * 1000}, modules=functions(2)))
    small.post("/services", {"name": "idle", "projectId": place, "packageId": made["id"], "active": False,
                             "runtime": {"concurrency": 4, "numReplicas": 3}})
    found = small.post("/query/faas", {"resource": "packages", "pageSize": 10, "filter": nested(3)})
    assert found["items"] == []


def test_defaults_keep_to_the_limits(small, place):
    made = small.post("/packages", package(place, name="plain"))
    service = small.post("/services", {"name": "plain", "projectId": place, "packageId": made["id"], "active": False})
    assert service["runtime"]["concurrency"] == 4
    assert small.post("/query/faas", {"resource": "packages"})["totalItemsCount"] >= 1


@pytest.mark.parametrize("path, body, field, option", [
    ("/projects", {"name": "n" * 33}, "name", "--max-name"),
    ("/datasets", {"name": "n" * 33}, "name", "--max-name"),
    ("/datasets", {"name": "d", "metadata": {"text": "x" * 2048}}, "metadata", "--max-field"),
    ("/users", {"email": "a@example.org", "firstName": "n" * 33}, "firstName", "--max-name"),
    ("/apikeys", {"description": "x" * 2049}, "description", "--max-field"),
    ("/packages", package(None, modules=functions(3)), "modules[0].functions", "--max-functions"),
    ("/packages", package(None, modules=[{"name": f"m{n}"} for n in range(3)]), "modules", "--max-functions"),
    ("/packages", package(None, modules=[{"name": "n" * 33}]), "modules[0].name", "--max-name"),
    ("/packages", package(None, metadata={"text": "x" * 2048}), "metadata", "--max-field"),
    ("/packages", package(None, requirements=[{"name": f"p{n}"} for n in range(3)]), "requirements",
     "--max-requirements"),
    ("/query/faas", {"resource": "services", "pageSize": 11}, "pageSize", "--max-page-size"),
    ("/query/faas", {"resource": "services", "filter": {"name": {"$in": ["x"] * 9}}}, "filter", "--max-filter-terms"),
    ("/query/faas", {"resource": "services", "filter": nested(4)}, "filter", "--max-filter-depth"),
    ("/executions/rerun", {"query": {"serviceId": {"$in": ["x"] * 9}}}, "query.filter", "--max-filter-terms"),
    ("/executions/rerun", {"query": {"serviceId": "x" * 2048}}, "query", "--max-field"),
    ("/services/logs", {"executionId": ["x"] * 6}, "executionId", "--max-bulk"),
    ("/projects/{project}/members", {"role": "viewer", "users": ["a@example.org"] * 6}, "users", "--max-bulk"),
])
def test_errors_name_the_option(small, place, path, body, field, option):
    body = dict(body, projectId=place) if path in ("/datasets", "/packages") else body
    error = small.bad(400, "POST", path.replace("{project}", place), body)
    assert error["field"] == field and option in error["message"], error


@pytest.mark.parametrize("runtime, field, option", [
    ({"concurrency": 5}, "runtime.concurrency", "--max-concurrency"),
    ({"numReplicas": 4}, "runtime.numReplicas", "--max-replicas"),
    ({"autoscaler": {"type": "rabbitmq", "maxReplicas": 4}}, "runtime.autoscaler.maxReplicas", "--max-replicas"),
])
def test_runtimes_name_the_option(small, place, runtime, field, option):
    made = small.post("/packages", package(place, name="scaled"))
    error = small.bad(400, "POST", "/services", {"name": "scaled", "projectId": place, "packageId": made["id"],
                                                 "runtime": runtime})
    small.delete(f"/packages/{made['id']}")
    assert error["field"] == field and option in error["message"], error


def test_uploads_name_the_option(small, place):
    dataset = small.post("/datasets", {"name": "files", "projectId": place})["id"]
    answer = harness.upload(small, dataset, "/a.txt", b"x", description="d" * 2049)
    assert answer.status_code == 413 and "--max-field" in answer.json()["message"], answer.text
    answer = small.call("POST", f"/datasets/{dataset}/items", data={"type": "dir", "path": "/" + "d" * 2049})
    assert answer.status_code == 413 and "--max-field" in answer.json()["message"], answer.text
    item = harness.upload(small, dataset, "/a.txt", b"x", description="d" * 2048).json()
    error = small.bad(400, "PATCH", f"/items/{item['id']}", {"metadata": {"user": {"text": "x" * 2048}}})
    assert error["field"] == "metadata" and "--max-field" in error["message"], error


def test_the_document_says_the_limits(small):
    schemas = small.get("/openapi.json")["components"]["schemas"]
    assert schemas["Query"]["properties"]["pageSize"]["maximum"] == 10
    assert schemas["ProjectCreate"]["properties"]["name"]["maxLength"] == 32
    assert schemas["MemberBatch"]["properties"]["users"]["maxItems"] == 5
    assert "maxLength" not in schemas["Project"]["properties"]["name"]


def test_a_large_page_is_whole(tmp_path):
    """Of more rows than the store gives at once."""
    server, api = started(tmp_path / "server", max_page_size="1500")
    place = api.post("/projects", {"name": "pages"})["id"]
    service = harness.deploy_plain(api, place, "pages", CODE, {"run": {"value": "Json"}}, active=False)
    bulk = [{"functionName": "run", "input": {"value": n}} for n in range(600)]
    made = api.post(f"/executions/{service['id']}", bulk) + api.post(f"/executions/{service['id']}", bulk)
    query = {"resource": "executions", "filter": {"serviceId": service["id"]}, "pageSize": 1100}
    page, rest = api.post("/query/faas", query), api.post("/query/faas", dict(query, page=1))
    ended(server)
    assert (len(page["items"]), len(rest["items"])) == (1100, 100)
    assert page["totalItemsCount"] == 1200 and page["hasNextPage"] and not rest["hasNextPage"]
    assert {one["id"] for one in page["items"] + rest["items"]} == {one["id"] for one in made}


def test_what_was_accepted_stays(tmp_path):
    """Under lower limits what is there is read, changed elsewhere, and run."""
    server, api = started(tmp_path / "server")
    place = api.post("/projects", {"name": "before"})["id"]
    service = harness.deploy_plain(api, place, "before", CODE, {name: {"value": "Json"} for name in ("run", "a", "b")},
                                   runtime={"concurrency": 8})
    api.post(f"/services/{service['id']}/stop", {})
    queued = api.execute(service["id"], value={"value": 1})

    server.options.update({name.replace("_", "-"): value for name, value in SMALL.items()})
    server.restart()
    assert api.patch(f"/packages/{service['packageId']}", {"metadata": {"now": "lower"}})["modules"]
    assert "--max-functions" in api.bad(400, "PATCH", f"/packages/{service['packageId']}",
                                        {"modules": functions(3)})["message"]
    kept = api.patch(f"/services/{service['id']}", {"metadata": {"now": "lower"}})
    assert kept["runtime"]["concurrency"] == 8
    assert "--max-concurrency" in api.bad(400, "PATCH", f"/services/{service['id']}",
                                          {"runtime": {"concurrency": 9}})["message"]
    api.post(f"/services/{service['id']}/resume", {})
    assert api.finished(queued["id"])["latestStatus"]["status"] == "success"
    ended(server)
