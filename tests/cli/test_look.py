# SPDX-License-Identifier: Apache-2.0
"""Lists and their forms, what changes a service, people; pipe against terminal."""
import json
import re

import pytest

import harness


def test_every_form_of_a_list(cli, service):
    table = cli.good("services").lines
    assert table[0].split()[:3] == ["NAME", "STATE", "REPLICAS"]
    assert any(line.split()[:2] == [service, "active"] for line in table[1:])
    assert service in cli.good("services", "-o", "name").lines
    listed = cli.good("services", "-o", "json").json
    assert service in [one["name"] for one in listed]
    assert [json.loads(line) for line in cli.good("services", "-ojsonl").lines] == listed
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", listed[0]["createdAt"])
    assert any("run" in line for line in cli.good("packages").lines[1:])
    assert "not within table, json, jsonl or name" in cli.bad(2, "services", "-o", "yaml")


def test_one_object_a_line(cli, service):
    """Also of what the server passes on as it was given, with line breaks in it."""
    for command in (["packages"], ["describe", service], ["doctor"]):
        lines = cli.good(*command, "-o", "jsonl").lines
        whole = cli.good(*command, "-o", "json").json
        read = [json.loads(line) for line in lines]
        assert all(isinstance(one, dict) for one in read) and read
        assert len(read) == (len(whole) if isinstance(whole, list) else 1)


def test_a_terminal_gets_colours_and_ages_and_a_pipe_does_not(cli, service):
    piped = cli.good("services").out
    assert "\x1b" not in piped and re.search(r"\d{4}-\d\d-\d\dT", piped)
    shown = cli.terminal("services", columns=140).finish()
    assert shown.code == 0 and "\x1b[32mactive" in shown.out
    assert re.search(r"\b\d+[smh]\b|now", shown.plain) and not re.search(r"\d{4}-\d\d-\d\dT", shown.plain)
    for env, option in (({"NO_COLOR": "1"}, []), ({}, ["--color", "never"]), ({"TERM": "dumb"}, [])):
        assert "\x1b" not in cli.terminal("services", *option, env=env).finish().out
    assert "\x1b[32mactive" in cli.good("services", "--color", "always").out


@pytest.mark.parametrize("columns", [30, 60, 100])
def test_tables_fit_the_window(cli, service, unique, columns):
    long = "a-service-with-a-name-that-is-quite-long-" + unique("x")
    folder = cli.folder / "long"
    folder.mkdir()
    (folder / "main.py").write_text("class ServiceRunner:\n    def run(self):\n        pass\n")
    cli.good("deploy", "long", "--name", long, "--package", long, "--replicas", 0)
    shown = cli.terminal("services", columns=columns).finish()
    assert all(len(line) <= columns for line in shown.plain.splitlines()), shown.plain
    assert "…" in shown.plain or columns == 100
    assert long in cli.good("services").out
    cli.good("delete", long, "--yes")


def test_describe_a_service_and_an_execution(cli, service):
    identity = cli.good("exec", service, "run", "name=Eve", "--wait", "-o", "name").out.strip()
    text = cli.good("describe", identity).out
    assert '{"name":"Eve"}' in text and "Hello, Eve!" in text and "success" in text
    assert cli.good("describe", identity, "-o", "json").json["id"] == identity
    assert cli.good("describe", identity, "-o", "name").out.strip() == identity
    text = cli.good("describe", service).out
    assert "count" in text and "to: Integer" in text and "REPLICA" in text
    whole = cli.good("describe", service, "-o", "json").json
    assert set(whole) == {"service", "package", "status", "executions"}
    assert cli.good("describe", whole["service"]["id"]).out.startswith("Name:")
    failed = cli("exec", service, "fail", "text=deep down", "--wait", "-o", "name").out.strip()
    assert "ValueError: deep down" in cli.good("describe", failed).out
    assert "no execution and no service" in cli.bad(3, "describe", "f" * 24)


def test_names_that_are_nearly_right(cli, service):
    for verb in (["describe"], ["logs"], ["exec"], ["pause"], ["scale"]):
        more = {"exec": ["run"], "scale": ["1"]}.get(verb[0], [])
        assert "did you mean 'hello'?" in cli.bad(3, *verb, "helo", *more)
    assert "did you mean 'main'?" in cli.bad(3, "services", "-p", "mian")


def test_a_name_that_two_services_have_is_explained(cli, api, unique):
    name, projects = unique("twice"), [unique("a"), unique("b")]
    folder = cli.folder / name
    folder.mkdir()
    (folder / "main.py").write_text("class ServiceRunner:\n    def run(self):\n        pass\n")
    for project in projects:
        cli.good("projects", "create", project)
        cli.good("deploy", name, "-p", project, "--replicas", 0)
    said = cli.bad(2, "describe", name, env={"DROVER_PROJECT": ""})
    assert all(project in said for project in projects) and "--project" in said
    identities = re.findall(r"[0-9a-f]{24}", said)
    assert len(identities) == 2
    for identity in identities:
        assert cli.good("describe", identity, "-o", "json", env={"DROVER_PROJECT": ""}).json["service"]["name"] == name
    assert cli.good("describe", name, "-p", projects[0]).code == 0
    for project in projects:
        cli.good("projects", "delete", project, "--yes")


def test_pause_resume_scale_restart(cli, api, service):
    assert "is paused" in cli.good("pause", service).err
    assert "paused" in cli.good("services").out
    assert cli.good("resume", service, "-o", "json").json["active"] is True
    assert "2 replicas" in cli.good("scale", service, 2).err
    identity = cli.good("describe", service, "-o", "json").json["service"]["id"]
    api.ready(identity, 2)
    before = {one["replicaId"] for one in api.get(f"/services/{identity}/status")["runtimeStatus"]}
    cli.good("restart", service)
    harness.wait_for("new replicas", lambda: not before & {
        one["replicaId"] for one in api.get(f"/services/{identity}/status")["runtimeStatus"]})
    cli.good("scale", service, 1)
    api.ready(identity, 1)
    assert "no number of replicas" in cli.bad(2, "scale", service, "many")
    assert "REPLICAS is missing" in cli.bad(2, "scale", service)
    assert "no replica" in cli.bad(3, "restart", service, "--replica", "none")


def test_top_once_in_a_pipe_and_live_on_a_terminal(cli, service):
    lines = cli.good("top").lines
    assert lines[0].split()[:4] == ["SERVICE", "STATE", "QUEUED", "RUNNING"]
    (row,) = [one for one in cli.good("top", "-o", "json").json if one["name"] == service]
    assert row["ready"] == "1/1" and row["queued"] == 0
    assert [one["name"] for one in cli.good("top", "-s", service, "-o", "json").json] == [service]
    assert [one["name"] for one in cli.good("top", "-s", row["id"], "-o", "json").json] == [service]
    assert f"did you mean '{service}'" in cli.bad(3, "top", "-s", service[:-1])
    live = cli.terminal("top", "--interval", "200ms").wait_for(rf"(?s){service}.*{service}")
    run = live.type("\x03").finish()
    assert run.code == 130
    assert cli.terminal("top", "--no-watch").finish().code == 0


def test_watch_shows_changes(cli, service, interrupt):
    process = cli.start("executions", "-s", service, "-n", "3", "--watch", "--interval", "100ms", "-o", "jsonl")
    first = json.loads(process.stdout.readline())
    assert first["serviceName"] == service
    identity = cli.good("exec", service, "run", "--wait", "-o", "name").out.strip()
    seen = [json.loads(process.stdout.readline()) for _ in range(1)]
    while seen[-1]["id"] != identity:
        seen.append(json.loads(process.stdout.readline()))
    code, _, _ = interrupt(process)
    assert code == 130


def test_keys_are_shown_once_and_can_be_revoked(cli, server):
    run = cli.good("keys", "create", "-d", "a test")
    key = run.out.strip()
    assert key.count(".") == 2 and key not in run.err
    identity = re.search(r"[0-9a-f]{24}", run.err)[0]
    as_key = {"DROVER_API_KEY": key}
    assert any("a test" in line for line in cli.good("keys", env=as_key).lines)
    assert key not in cli.good("keys", "list", "-o", "json").out
    assert "--yes" in cli.bad(2, "keys", "revoke", identity)
    cli.good("keys", "revoke", identity, "--yes")
    assert "log in again" in cli.bad(4, "services", env=as_key)
    assert cli.bad(3, "keys", "revoke", "0" * 24, "-y")


def test_users_and_roles(cli, unique):
    email = unique("ada") + "@example.org"
    invited = cli.good("users", "invite", email, "--role", "viewer")
    password = invited.out.strip()
    assert len(password) >= 12
    assert any(email in line and "viewer" in line for line in cli.good("users").lines)
    (cli.folder / "password").write_text(password + "\n")
    cli.good("login", cli.environment["DROVER_URL"], "--user", email, "--password-file", "password")
    as_ada = {"DROVER_URL": "", "DROVER_API_KEY": ""}
    assert cli.good("services", env=as_ada).code == 0
    assert "users list" in cli.bad(4, "projects", "delete", "main", "-y", env=as_ada)
    cli.good("users", "role", email, "developer")
    assert "users invite" in cli.bad(3, "users", "role", unique("no") + "@example.org", "viewer")
    assert "already" in cli.good("users", "invite", email).err
    cli.good("users", "remove", email, "--yes")
    assert email not in cli.good("users").out
    assert email in cli.good("users", "list", "--all").out


def test_projects(cli, unique):
    name = unique("project")
    assert cli.good("projects", "create", name, "-o", "json").json["name"] == name
    assert name in cli.good("projects", "-o", "name").lines
    assert "DROVER_PROJECT" in cli.bad(2, "projects", "use", name)
    cli.good("projects", "delete", name, "--yes")
    assert cli.bad(3, "projects", "delete", name, "--yes")
    assert "name" in cli.bad(2, "projects", "create", "x" * 300)
