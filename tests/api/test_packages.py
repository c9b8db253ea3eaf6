# SPDX-License-Identifier: Apache-2.0
"""Packages: code in, versions, what is refused."""
import os

import pytest

import harness

MODULE = {"name": "default_module", "entryPoint": "main.py", "className": "ServiceRunner", "initInputs": [],
          "functions": [{"name": "run", "input": [{"name": "value", "type": "Json"}], "output": [], "description": ""}]}
GIT = {"type": "git", "gitUrl": "https://example.org/code.git", "gitTag": "v1"}
CODE = "class ServiceRunner:\n    def run(self, value):\n        return value\n"


@pytest.fixture
def source(working_folder, unique):
    folder = working_folder / unique("source")
    folder.mkdir()
    (folder / "main.py").write_text(CODE)
    return folder


def push(dl, project, name, source, **more):
    module = dl.PackageModule.from_json(_json=MODULE)
    return project.packages.push(package_name=name, src_path=str(source), modules=[module], **more)


@pytest.mark.core
def test_push_get_list(dl, project, source, unique):
    name = unique("package")
    package = push(dl, project, name, source)
    assert package.version == "1.0.0" and package.type in ("faas", None)
    assert package.codebase.type == "item"
    assert project.packages.get(package_name=name).id == package.id
    assert dl.packages.get(package_id=package.id).name == name
    assert dl.packages.get(package_name=name).id == package.id
    assert name in [one.name for page in project.packages.list() for one in page]
    function = package.modules[0].functions[0]
    assert function.name == "run" and [one.type for one in function.inputs] == ["Json"]


def test_push_again(dl, project, source, unique):
    name = unique("package")
    first = push(dl, project, name, source)
    same = push(dl, project, name, source)
    assert same.id == first.id and same.codebase.item_id == first.codebase.item_id
    (source / "main.py").write_text(CODE + "\n# changed\n")
    third = push(dl, project, name, source)
    assert third.id == first.id and third.codebase.item_id != first.codebase.item_id
    assert third.version not in (first.version, same.version)
    revisions = third.revisions
    versions = [one["version"] if isinstance(one, dict) else one.version for one in revisions]
    assert first.version in versions and third.version in versions and len(set(versions)) == len(versions)


def test_code_comes_back(dl, project, source, unique, tmp_path):
    package = push(dl, project, unique("package"), source)
    path = package.pull(local_path=str(tmp_path / "pulled"))
    found = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names if name == "main.py"]
    assert open(found[0], encoding="utf-8").read() == CODE


def test_requirements_are_kept(dl, project, source, unique):
    (source / "requirements.txt").write_text("six==1.17.0\nattrs>=20\n")
    package = push(dl, project, unique("package"), source)
    kept = package.to_json()["requirements"]
    assert {one["name"] for one in kept} == {"six", "attrs"}


def test_delete(dl, api, project, source, unique):
    package = push(dl, project, unique("package"), source)
    assert package.delete()
    api.bad(404, "GET", f"/packages/{package.id}")


def test_used_package_stays(api, project, unique):
    service = harness.deploy_plain(api, project.id, unique("used"), CODE, {"run": {"value": "Json"}}, active=False)
    error = api.bad(409, "DELETE", f"/packages/{service['packageId']}")
    assert service["name"] in error["message"]
    api.delete(f"/services/{service['id']}")
    api.delete(f"/packages/{service['packageId']}")


def test_code_in_use_stays(api, project, unique):
    """The item that holds a revision's code cannot be deleted before the package, one by one or in bulk."""
    package = harness.push_plain(api, project.id, unique("code"), "class ServiceRunner:\n    def run(self): pass\n",
                                 {"run": {}})
    item = api.get(f"/items/{package['codebase']['itemId']}")
    other = harness.upload(api, item["datasetId"], f"/codebases/{package['name']}/1.zip", b"never pushed").json()
    assert package["name"] in api.bad(409, "DELETE", f"/items/{item['id']}")["message"]
    everything = {"delete": True, "filter": {"filename": f"/codebases/{package['name']}/*"}}
    api.bad(409, "POST", f"/datasets/{item['datasetId']}/query", everything)
    api.bad(409, "PATCH", f"/items/{item['id']}", {"filename": "/elsewhere.zip"})
    assert harness.upload(api, item["datasetId"], item["filename"], b"other code", mode="overwrite").status_code == 409
    assert harness.upload(api, item["datasetId"], other["filename"], b"not code", mode="overwrite").ok
    assert api.get(f"/items/{other['id']}")["id"] == other["id"], "nothing was deleted"
    api.delete(f"/items/{other['id']}")
    api.delete(f"/packages/{package['id']}")
    assert api.call("DELETE", f"/items/{item['id']}").status_code in (204, 200, 404)


def test_code_in_a_dataset_stays(api, project, unique):
    """Also where somebody keeps it beside the project's Binaries."""
    dataset = api.post("/datasets", {"name": unique("mine"), "projectId": project.id})["id"]
    item = harness.upload(api, dataset, "/my/code.zip", harness.plain_code(CODE)).json()
    package = api.post("/packages", {"name": unique("mine"), "projectId": project.id, "modules": [MODULE],
                                     "codebase": {"type": "item", "itemId": item["id"]}})
    api.bad(409, "DELETE", f"/items/{item['id']}")
    api.bad(409, "DELETE", f"/datasets/{dataset}")
    api.delete(f"/packages/{package['id']}")
    api.delete(f"/datasets/{dataset}")


def test_credentials_cannot_be_guessed(api, people, project, unique):
    """What answers mask cannot be compared or sorted by either."""
    api.post("/packages", {"name": unique("git"), "projectId": project.id, "modules": [MODULE],
                           "codebase": {**GIT, "credentials": {"username": "u", "password": "s3cr3t"}}})
    viewer = people("viewer", project.id)
    for query in ({"filter": {"codebase.credentials.password": {"$match": "s*"}}},
                  {"filter": {"codebase.credentials": {"$exists": True}}},
                  {"sort": {"codebase.credentials.password": "ascending"}}):
        viewer.bad(400, "POST", "/query/faas", {"resource": "packages", **query})


def test_name_is_checked(api):
    api.get("/piper-misc/naming/packages/good-name-1")
    for name in ("%20", "x" * 300, "a%0Ab", "a;b", "%C3%BC"):
        assert api.bad(400, "GET", f"/piper-misc/naming/packages/{name}")["message"]


def changed(**change):
    return {**MODULE, **change}


@pytest.mark.parametrize("modules, field", [
    (5, "modules"),
    ([5], "modules[0]"),
    ([changed(name="")], "modules[0].name"),
    ([changed(name=5)], "modules[0].name"),
    ([changed(functions=5)], "modules[0].functions"),
    ([changed(functions=[{"name": 5}])], "modules[0].functions[0].name"),
    ([changed(functions=[{"name": "run", "input": [{"name": "x", "type": "Nonsense"}]}])],
     "modules[0].functions[0].input[0].type"),
    ([changed(functions=[{"name": "run", "input": [{"type": "Json"}]}])], "modules[0].functions[0].input[0].name"),
    ([changed(initInputs=[{"name": "x", "type": "Bogus"}])], "modules[0].initInputs[0].type"),
    ([changed(entryPoint="/etc/passwd")], "modules[0].entryPoint"),
    ([changed(entryPoint="../main.py")], "modules[0].entryPoint"),
    ([MODULE, MODULE], "modules[1].name"),
])
def test_bad_modules(api, project, unique, modules, field):
    body = {"name": unique("package"), "projectId": project.id, "modules": modules, "codebase": GIT}
    assert api.bad(400, "POST", "/packages", body)["field"] == field


@pytest.mark.parametrize("change, field", [
    ({"name": "Not a name!"}, "name"),
    ({"name": None}, "name"),
    ({"codebase": {"type": "item", "itemId": "0" * 24}}, "codebase.itemId"),
    ({"codebase": {"type": "carrier-pigeon"}}, "codebase.type"),
    ({"requirements": [{"name": "x; rm -rf /"}]}, "requirements[0].name"),
    ({"requirements": [{"name": "--index-url"}]}, "requirements[0].name"),
    ({"requirements": 5}, "requirements"),
])
def test_bad_packages(api, project, unique, change, field):
    body = {"name": unique("package"), "projectId": project.id, "modules": [MODULE], "codebase": GIT, **change}
    assert api.bad(400, "POST", "/packages", body)["field"] == field


def test_files_with_names_beyond_ascii(api, project, unique):
    text = """
        import pathlib
        class ServiceRunner:
            def run(self, name):
                return (pathlib.Path(__file__).parent / name).read_text(encoding="utf-8")
    """
    service = harness.deploy_plain(api, project.id, unique("names"), text, {"run": {"name": "String"}},
                                   files={"ü.txt": "grüße", "日本/ä.txt": "x"})
    assert api.run(service["id"], "run", {"name": "ü.txt"})["output"] == "grüße"
    assert api.run(service["id"], "run", {"name": "日本/ä.txt"})["output"] == "x"
    api.delete(f"/services/{service['id']}?force=true")


def test_a_create_is_repeated_only_by_an_equal_one(api, people, project, unique):
    """Within a minute the same create gets what the first one made; another one is a conflict."""
    body = {"name": unique("package"), "projectId": project.id, "modules": [MODULE], "codebase": GIT,
            "requirements": [{"name": "six", "version": "1.17.0", "operator": "=="}], "metadata": {"a": 1, "b": 2}}
    first = api.post("/packages", body)
    assert api.post("/packages", {**body, "metadata": {"b": 2, "a": 1}, "unknown": 1})["id"] == first["id"]
    for change in ({"metadata": {"a": 2}}, {"requirements": None}, {"codebase": {**GIT, "gitTag": "v2"}}, {"type": "app"},
                   {"modules": [{**MODULE, "entryPoint": "other.py"}]}):
        assert body["name"] in api.bad(409, "POST", "/packages", {**body, **change})["message"]
    people("developer", project.id).bad(409, "POST", "/packages", body)
    assert api.get(f"/packages/{first['id']}") == first

    service = {"name": unique("twice"), "projectId": project.id, "packageId": first["id"], "active": False}
    made = api.post("/services", service)
    again = {**service, "runtime": {"concurrency": 10}, "packageRevision": "1.0.0", "maxAttempts": 3}
    assert api.post("/services", service)["id"] == api.post("/services", again)["id"] == made["id"]
    for change in ({"runtime": {"concurrency": 3}}, {"active": True}, {"maxAttempts": 4}, {"driverId": "x"}):
        api.bad(409, "POST", "/services", {**service, **change})
    assert api.get(f"/services/{made['id']}") == made
    api.delete(f"/services/{made['id']}")

    dataset = {"name": unique("set"), "projectId": project.id, "metadata": {"a": 1}}
    kept = api.post("/datasets", dataset)
    assert api.post("/datasets", {"projects": [project.id], **dataset})["id"] == kept["id"]
    api.bad(409, "POST", "/datasets", {**dataset, "metadata": {"a": 2}})
    api.bad(409, "POST", "/datasets", {**dataset, "metadata": None})


def test_another_projects_code_is_refused(dl, api, project, source, unique):
    package = push(dl, project, unique("package"), source)
    other = dl.projects.create(project_name=unique("other"))
    body = {"name": "thief", "projectId": other.id, "modules": [MODULE], "codebase": package.to_json()["codebase"]}
    api.bad(400, "POST", "/packages", body)
    other.delete(True, True)


def test_credentials_of_git_are_not_told(api, project, unique):
    codebase = {"type": "git", "gitUrl": "https://example.org/code.git", "gitTag": "v1",
                "credentials": {"username": "robot", "password": "hunter2"}}
    body = {"name": unique("package"), "projectId": project.id, "modules": [MODULE], "codebase": codebase}
    package = api.post("/packages", body)
    assert "hunter2" not in api.call("GET", f"/packages/{package['id']}").text
    audit = api.call("POST", "/audit/logs", {"projectId": project.id, "page": 0, "pageSize": 1000})
    assert "hunter2" not in audit.text


@pytest.mark.parametrize("change, field", [
    ({"gitTag": "v*"}, "codebase.gitTag"),
    ({"gitTag": "v1~1"}, "codebase.gitTag"),
    ({"gitUrl": "git@example.org:a/b.git"}, "codebase.gitUrl"),
    ({"gitUrl": "git://example.org/b.git"}, "codebase.gitUrl"),
    ({"credentials": {"username": 31337, "password": ["x"]}}, "codebase.credentials.username"),
    ({"credentials": {"username": "x", "password": 31337}}, "codebase.credentials.password"),
    ({"credentials": {"token": "31337"}}, "codebase.credentials"),
    ({"credentials": {"password": "31337\nhost=elsewhere"}}, "codebase.credentials.password"),
])
def test_git_that_agents_could_not_use(api, project, unique, change, field):
    body = {"name": unique("package"), "projectId": project.id, "modules": [MODULE], "codebase": {**GIT, **change}}
    error = api.bad(400, "POST", "/packages", body)
    assert error["field"] == field and "31337" not in error["message"]


def test_credentials_by_integration_are_refused(dl, project, unique):
    """dtlpy's own form names integrations, which do not exist yet."""
    codebase = dl.GitCodebase(git_url="https://example.org/code.git", git_tag="v1", credentials={
        "username": {"id": "5f0", "key": "GIT_USER"}, "password": {"id": "5f1", "key": "GIT_PASSWORD"}})
    with pytest.raises(dl.exceptions.BadRequest, match="refers to an integration.*give the username itself"):
        project.packages.push(package_name=unique("package"), codebase=codebase,
                              modules=[dl.PackageModule.from_json(_json=MODULE)])
