# SPDX-License-Identifier: Apache-2.0
"""Projects, organisations, members and the audit log."""
import io

import pytest


@pytest.fixture
def made(dl, unique):
    project = dl.projects.create(project_name=unique("project"))
    yield project
    try:
        project.delete(True, True)
    except dl.exceptions.NotFound:
        pass


@pytest.mark.core
def test_create_get_list_delete(dl, api, unique):
    name = unique("project")
    project = dl.projects.create(project_name=name)
    assert dl.projects.get(project_id=project.id).name == name
    assert dl.projects.get(project_name=name).id == project.id
    assert project.id in [one.id for one in dl.projects.list()]
    assert project.org["id"] and project.org["name"]
    assert project.delete(True, True)
    with pytest.raises(dl.exceptions.NotFound):
        dl.projects.get(project_name=name)
    api.bad(404, "GET", f"/projects/{project.id}")


def test_rename(dl, made, unique):
    made.name = unique("renamed")
    made.update()
    assert dl.projects.get(project_name=made.name).id == made.id


def test_name_is_taken(api, people, made):
    """The same caller within a minute repeats a create whose answer was lost; others are refused."""
    assert api.post("/projects", {"name": made.name})["id"] == made.id
    somebody = people(None, made.id)
    somebody.bad(409, "POST", "/projects", {"name": made.name})


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": None}, {"name": 5}, {"name": "x" * 5000}])
def test_bad_names(api, body):
    assert api.bad(400, "POST", "/projects", body)["field"] == "name"


def test_name_with_strange_characters(dl, unique):
    name = unique("Ünï cøde & 'quotes' 你好")
    project = dl.projects.create(project_name=name)
    assert dl.projects.get(project_name=name).id == project.id
    project.delete(True, True)


def test_binaries_are_there_but_hidden(api, made):
    query = {"filter": {"$and": [{"name": "Binaries"}]}, "context": {"projects": [made.id]}, "page": 0,
             "pageSize": 1000, "resource": "datasets"}
    found = api.post("/datasets/query", {**query, "systemSpace": True})
    assert [one["name"] for one in found["items"]] == ["Binaries"]
    assert found["items"][0]["projects"] == [made.id] and found["hasNextPage"] is False
    assert "Binaries" not in [one.name for one in made.datasets.list()]


def test_orgs(api, made):
    org = made.org["id"]
    assert api.get(f"/orgs/{org}")["id"] == org
    assert made.id in [one["id"] for one in api.get(f"/orgs/{org}/projects")]


def test_members(api, people, made, unique):
    email = people(None, made.id).email
    people(None, made.id).bad(404, "GET", f"/projects/{made.id}")
    path = f"/projects/{made.id}/members"
    api.post(f"{path}/{email}", {"role": "viewer"})
    people(None, made.id).get(f"/projects/{made.id}")
    roles = {one.get("userId", one.get("id")): one["role"] for one in api.get(path)}
    assert roles[email] == "viewer" and roles["admin@localhost"] == "owner"
    api.patch(f"{path}/{email}", {"role": "developer"})
    assert {one.get("userId"): one["role"] for one in api.get(path)}[email] == "developer"
    assert api.bad(400, "PATCH", f"{path}/{email}", {"role": "king"})["field"] == "role"
    api.delete(f"{path}/{email}")
    people(None, made.id).bad(404, "GET", f"/projects/{made.id}")
    api.bad(404, "POST", f"{path}/nobody@nowhere.example", {"role": "viewer"})


def test_members_with_dtlpy(dl, api, made, unique):
    email = unique("member") + "@example.org"
    api.post("/users", {"email": email, "password": "correct horse battery", "firstName": "Ada", "lastName": "Lovelace"})
    added = made.add_member(email=email, role=dl.MemberRole.DEVELOPER)
    assert added["email"] == added["id"] == email and added["role"] == "engineer"
    member = next(one for one in made.list_members() if one.email == email)
    assert (member.id, member.username, member.name, member.last_name) == (email, email, "Ada", "Lovelace")
    assert (member.role, member.type, member.org["id"]) == (dl.MemberRole.DEVELOPER, "user", made.org["id"])
    assert member.created_at and member.updated_at
    assert [one.email for one in made.list_members(role=dl.MemberRole.DEVELOPER)] == [email]
    assert [one.email for one in made.list_members(role=dl.MemberRole.OWNER)] == ["admin@localhost"]
    for role in (dl.MemberRole.ANNOTATOR, dl.MemberRole.ANNOTATION_MANAGER, dl.MemberRole.OWNER):
        assert made.update_member(email=member.email, role=role)["role"] == role
        assert email in [one.email for one in made.list_members(role=role)]
    assert [one["email"] for one in made.remove_member(email=member.email)] == ["admin@localhost"]
    assert [one.email for one in made.list_members()] == ["admin@localhost"]
    with pytest.raises(dl.exceptions.NotFound):
        made.remove_member(email=email)


def test_published_roles_grant_what_they_mean(api, people, made):
    """dtlpy's words for roles open what our own do, no more and no less."""
    for word, may_write in (("annotator", False), ("annotationManager", False), ("engineer", True)):
        somebody = people(None, made.id)
        api.post(f"/projects/{made.id}/members/{somebody.email}?allowUpdate=true", {"role": word})
        somebody.get(f"/projects/{made.id}")
        answer = somebody.call("POST", "/datasets", {"name": word, "projectId": made.id})
        assert answer.status_code == (200 if may_write else 403), answer.text
    api.delete(f"/projects/{made.id}/members/{somebody.email}")


def test_the_last_owner_stays(api, made):
    error = api.bad(409, "DELETE", f"/projects/{made.id}/members/admin@localhost")
    assert "owner" in error["message"]


def test_others_see_only_their_projects(api, people, made, project):
    viewer = people("viewer", project.id)
    assert made.id not in [one["id"] for one in viewer.get("/projects")]
    assert project.id in [one["id"] for one in viewer.get("/projects")]


def test_audit(api, made, unique, people):
    name = unique("renamed")
    api.patch(f"/projects/{made.id}", {"name": name})
    page = api.post("/audit/logs", {"projectId": made.id, "page": 0, "pageSize": 100})
    entries = [one for one in page["items"] if one["entityId"] == made.id]
    assert {one["action"] for one in entries} >= {"create", "update"}
    update = next(one for one in entries if one["action"] == "update")
    assert update["userId"] == "admin@localhost"
    assert update["before"]["name"] == made.name and update["after"]["name"] == name
    assert update["address"].startswith("127.0.0.1")
    people(None, made.id).bad(403, "POST", "/audit/logs", {"projectId": made.id})


@pytest.mark.parametrize("change, field", [
    ({"context": 5}, "context"), ({"context": {"projects": "x"}}, "context.projects"),
    ({"context": {"projects": [5]}}, "context.projects[0]"), ({"systemSpace": "x"}, "systemSpace")])
@pytest.mark.parametrize("path", ["/datasets/query", "/query/faas"])
def test_bad_queries(api, path, change, field):
    body = {"filter": {}, "resource": "packages", **change}
    assert api.bad(400, "POST", path, body)["field"] == field


def test_a_context_names_projects(api, made, project, package):
    for path, resource in (("/datasets/query", "datasets"), ("/query/faas", "packages")):
        def found(context):
            page = api.post(path, {"filter": {}, "resource": resource, "context": context, "systemSpace": True})
            return {one["projectId"] for one in page["items"]}
        assert found({"projects": [project.id]}) == {project.id}
        assert found({"projects": []}) == set()
        assert found(None) == found({}) >= {project.id}


def test_wrong_projects_are_named(api, made):
    """A projectId of another type is not a missing one, nor all projects."""
    assert "number 5" in api.bad(400, "POST", "/datasets", {"name": "d", "projectId": 5})["message"]
    for body, field in (({"projectId": 5}, "projectId"), ({"projectId": ""}, "projectId"), ({"projects": 5}, "projects"),
                        ({"projects": [5]}, "projects[0]"), ({"projects": [made.id] * 2}, "projects"),
                        ({"projects": []}, "projectId"), ({}, "projectId")):
        assert api.bad(400, "POST", "/datasets", {"name": "d", **body})["field"] == field
    for wrong in (5, "", [], {}):
        assert api.bad(400, "POST", "/audit/logs", {"projectId": wrong})["field"] == "projectId"
    assert api.post("/audit/logs", {"projectId": None})["totalItemsCount"] > 0


def test_deleted_project_takes_everything_with_it(dl, api, unique):
    project = dl.projects.create(project_name=unique("doomed"))
    dataset = project.datasets.create(dataset_name="photos")
    item = dataset.items.upload(local_path=io.BytesIO(b"bytes"), remote_name="a.txt")
    project.delete(True, True)
    api.bad(404, "GET", f"/datasets/{dataset.id}")
    api.bad(404, "GET", f"/items/{item.id}")
