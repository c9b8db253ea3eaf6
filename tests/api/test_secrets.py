# SPDX-License-Identifier: Apache-2.0
"""Integrations: made and deleted as dtlpy does it, attached to services, and where their values are
never seen: in answers, in any file of the data folder, in logs, in process arguments, in backups."""
import base64
import http.client
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import tarfile
import threading
import uuid

import pytest

import harness

CODE = """
    import os, sys
    class ServiceRunner:
        def env(self, name):
            return os.environ.get(name)
        def told(self, name):
            value = os.environ[name]
            print("it is " + value + ", really")
            print(ascii({"key": value}))
            os.write(2, ("raw " + value + "\\n").encode())
            return len(value)
        def trip(self, name):
            raise ValueError("cannot log in with " + os.environ[name])
        def ask(self, method, path, body):
            # with the token of the service, as dtlpy calls
            import json, urllib.error, urllib.request
            port, word = os.environ["AGENT_PROXY_MAIN_PORT"], os.environ["GET_JWT_ENDPOINT_SECRET"]
            asked = urllib.request.Request(f"http://localhost:{port}/get_jwt", headers={"X-Get-Jwt-Secret": word})
            token = json.load(urllib.request.urlopen(asked))["jwt"]
            text = json.dumps(body).replace("%TOKEN%", os.environ["TOKEN"]).encode()
            asked = urllib.request.Request(os.environ["INTERNAL_REQUESTS_URL"] + path, text, method=method, headers={
                "authorization": "Bearer " + token, "content-type": "application/json"})
            try:
                return [urllib.request.urlopen(asked).status, ""]
            except urllib.error.HTTPError as error:
                return [error.code, error.read().decode()]
        def nap(self, seconds):
            import time
            time.sleep(seconds)
            return os.environ["TOKEN"]
"""
FUNCTIONS = {"env": {"name": "String"}, "told": {"name": "String"}, "trip": {"name": "String"},
             "ask": {"method": "String", "path": "String", "body": "Json"}, "nap": {"seconds": "Number"}}


def secret():
    return "s3cr3t-" + uuid.uuid4().hex


@pytest.fixture(scope="module")
def org(api):
    return api.get("/users/me")["org"]["id"]


@pytest.fixture
def make(api, org, unique):
    """make(value, name=…): the id of a key_value integration, deleted at the end."""
    made = []

    def one(value, name=None, **more):
        name = name or unique("SECRET").replace("-", "_").upper()
        body = {"type": "key_value", "name": name, "options": {"key": name, "value": value}, **more}
        made.append(api.post(f"/orgs/{org}/integrations", body)["id"])
        return made[-1]

    yield one
    for identity in made:
        api.call("DELETE", f"/orgs/{org}/integrations/{identity}")


def variable(env, identity, **more):
    return {"env": env, "value": identity, "type": "key_value", **more}


def output(api, service, function, **value):
    execution = api.run(service, function, value)
    assert execution["latestStatus"]["status"] == "success", execution
    return execution["output"]


# ── as dtlpy does it ─────────────────────────────────────────────────────────────────────────

@pytest.mark.core
def test_create_list_delete(dl, project, unique):
    value, name = secret(), unique("integration")
    made = project.integrations.create(integrations_type=dl.IntegrationType.KEY_VALUE, name=name,
                                       options={"key": "K", "value": value}, metadata={"provider": "us"})
    assert made.name == name and made.type == "key_value" and made.org == project.org["id"]
    assert isinstance(made.created_at, int) and made.creator == "admin@localhost"
    assert made.metadata[0] == {"name": "status", "value": "available"}
    assert {"name": "provider", "value": "us"} in made.metadata
    assert project.integrations.get(integrations_id=made.id).to_json() == made.to_json()
    listed = [one for one in project.integrations.list() if one["id"] == made.id]
    assert len(listed) == 1 and value not in json.dumps(project.integrations.list())
    assert project.integrations.update(new_name=name + "2", integrations_id=made.id).name == name + "2"
    assert project.integrations.update(integrations_id=made.id, new_options={"key": "K", "value": secret()},
                                       reload_services=True).id == made.id
    assert {one["type"] for one in project.integrations.list(only_available=True)} > {"key_value", "private-registry"}
    assert project.integrations.delete(integrations_id=made.id, sure=True, really=True)
    assert made.id not in [one["id"] for one in project.integrations.list()]


def test_registries(dl, project, unique):
    forms = [project.integrations.generate_docker_hub_options("me", "my password"),
             project.integrations.generate_gar_options(service_account="{}", location="europe"),
             project.integrations.generate_ecr_options("AKIA", "my secret", "1234", "eu-west-1")]
    for options in forms:
        made = project.integrations.create(integrations_type=dl.IntegrationType.PRIVATE_REGISTRY, name=unique("registry"),
                                           options=options)
        assert made.type == "private-registry"
        project.integrations.delete(integrations_id=made.id, sure=True, really=True)


@pytest.mark.parametrize("body, field", [
    ({"type": "no such", "name": "x", "options": {}}, "type"),
    ({"name": "x", "options": {}}, "type"),
    ({"type": "key_value", "options": {"key": "a", "value": "b"}}, "name"),
    ({"type": "key_value", "name": " ", "options": {"key": "a", "value": "b"}}, "name"),
    ({"type": "key_value", "name": "x"}, "options"),
    ({"type": "key_value", "name": "x", "options": "hidden"}, "options"),
    ({"type": "key_value", "name": "x", "options": {"key": "a"}}, "options.value"),
    ({"type": "key_value", "name": "x", "options": {"key": "a", "value": ["hidden"]}}, "options.value"),
    ({"type": "key_value", "name": "x", "options": {"key": "a", "value": "hidden" * 20000}}, "options.value"),
    ({"type": "private-registry", "name": "x", "options": {"name": "hidden", "spec": {}}}, "options.name"),
    ({"type": "private-registry", "name": "x", "options": {"name": "AWS", "spec": {}}}, "options.spec.accessKeyId"),
    ({"type": "private-registry", "name": "x", "options": {"name": "_json_key", "spec": {"password": "hidden"}}},
     "options.spec.password"),
    ({"type": "s3", "name": "x", "options": {"key": "a"}}, "options.secret"),
])
def test_wrong_integrations(api, org, body, field):
    error = api.bad(400, "POST", f"/orgs/{org}/integrations", body)
    assert error["field"] == field and "hidden" not in error["message"]
    if body.get("type") == "no such":
        assert "key_value" in error["message"] and "private-registry" in error["message"]


def test_names_are_unique(api, org, make):
    value = secret()
    first = make(value, name="TAKEN_NAME")
    assert make(value, name="TAKEN_NAME") == first, "the same create again"
    error = api.bad(409, "POST", f"/orgs/{org}/integrations",
                    {"type": "key_value", "name": "TAKEN_NAME", "options": {"key": "a", "value": "other"}})
    assert "TAKEN_NAME" in error["message"]
    second = make(value)
    api.bad(409, "PATCH", f"/orgs/{org}/integrations", {"integrationId": second, "name": "TAKEN_NAME"})


def test_who_may(api, server, org, make, unique):
    identity = make(secret())
    email = f"{unique('ada')}@example.org"
    account = api.post("/users", {"email": email})
    token = api.post("/token", {"username": email, "password": account["password"], "type": "user_credentials"})["id_token"]
    ada = harness.Api(server, token)
    base = f"/orgs/{org}/integrations"
    assert identity in [one["id"] for one in ada.get(base)]
    assert ada.get(f"{base}/{identity}")["id"] == ada.get(f"/integrations/{identity}")["id"] == identity
    ada.bad(403, "POST", base, {"type": "key_value", "name": "x", "options": {"key": "a", "value": "b"}})
    ada.bad(403, "PATCH", base, {"integrationId": identity, "name": "y"})
    ada.bad(403, "DELETE", f"{base}/{identity}")
    nowhere = str(uuid.uuid4())
    api.bad(404, "GET", f"/orgs/{nowhere}/integrations")
    api.bad(404, "GET", f"/orgs/{nowhere}/integrations/{identity}")
    api.bad(404, "DELETE", f"{base}/{nowhere}")


# ── attached to a service ────────────────────────────────────────────────────────────────────

@pytest.mark.core
def test_variables_of_a_function(dl, server, api, plain, make):
    value, other = secret(), 'two\nlines with "quotes" and ünïcode'
    named = make(other, name="NAMED_SECRET")
    made = plain(CODE, FUNCTIONS, integrations=[variable("TOKEN", make(value)), variable("NONE", str(uuid.uuid4()), optional=True)],
                 secrets=[named])
    assert output(api, made["id"], "env", name="TOKEN") == value
    assert output(api, made["id"], "env", name="NAMED_SECRET") == other
    assert output(api, made["id"], "env", name="NONE") is None
    service = dl.services.get(service_id=made["id"])
    assert service.secrets == [named] and service.integrations[0]["env"] == "TOKEN"
    # Only its runner has them in the environment, nobody in the arguments.
    having = [one["cmdline"] for _, one in processes_of(server) if value in one["environ"]]
    assert len(having) == 1 and "drover_runner" in having[0]
    assert not [one for _, one in processes_of(server) if value in one["cmdline"]]


def processes_of(server):
    """(pid, {"cmdline", "environ"}) of the server, its agents and their runners."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            one = {name: (entry / name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")}
        except (OSError, NotADirectoryError):
            continue
        if entry.name.isdigit() and str(server.data) in one["cmdline"] + one["environ"]:
            found.append((int(entry.name), one))
    return found


@pytest.mark.parametrize("settings, field", [
    ({"integrations": [{"env": "A", "value": "no such"}]}, "integrations[0].value"),
    ({"integrations": [{"env": "A"}]}, "integrations[0].value"),
    ({"integrations": [{"env": "A", "value": 5}]}, "integrations[0].value"),
    ({"integrations": ["ID"]}, "integrations[0]"),
    ({"integrations": [{"value": "ID"}]}, "integrations[0].env"),
    ({"integrations": [{"env": "has space", "value": "ID"}]}, "integrations[0].env"),
    ({"integrations": [{"env": "1A", "value": "ID"}]}, "integrations[0].env"),
    ({"integrations": [{"env": "A=B", "value": "ID"}]}, "integrations[0].env"),
    ({"integrations": [{"env": "PATH", "value": "ID"}]}, "integrations[0].env"),
    ({"integrations": [{"env": "LD_PRELOAD", "value": "ID"}]}, "integrations[0].env"),
    ({"integrations": [{"env": "DTLPY_CUSTOM_ENV", "value": "ID"}]}, "integrations[0].env"),
    ({"integrations": [{"env": "A", "value": "ID"}, {"env": "A", "value": "ID"}]}, "integrations[1].env"),
    ({"integrations": [{"env": "NAMED", "value": "ID"}], "secrets": ["ID"]}, "secrets[0]"),
    ({"integrations": [{"env": "A", "value": "ID", "type": "s3"}]}, "integrations[0].type"),
    ({"secrets": ["no such"]}, "secrets[0]"),
    ({"secrets": [7]}, "secrets[0]"),
])
def test_wrong_attachments(api, project, unique, make, settings, field):
    identity = make(secret(), name="NAMED")
    settings = json.loads(json.dumps(settings).replace('"ID"', f'"{identity}"'))
    package = harness.push_plain(api, project.id, unique("wrong"), CODE, FUNCTIONS)
    body = {"name": unique("wrong"), "projectId": project.id, "packageId": package["id"], "versions": {"dtlpy": "none"}}
    error = api.bad(400, "POST", "/services", {**body, **settings})
    assert error["field"] == field
    made = api.post("/services", {**body, "active": False})
    assert api.bad(400, "PATCH", f"/services/{made['id']}", settings)["field"] == field
    api.delete(f"/services/{made['id']}")


def test_used_ones_stay(api, org, plain, make):
    identity = make(secret())
    made = plain(CODE, FUNCTIONS, ready=False, active=False, secrets=[identity])
    error = api.bad(409, "DELETE", f"/orgs/{org}/integrations/{identity}")
    assert made["name"] in error["message"]
    assert made["name"] in api.bad(409, "PATCH", f"/orgs/{org}/integrations",
                                   {"integrationId": identity, "name": "ANOTHER"})["message"]
    api.patch(f"/services/{made['id']}", {"secrets": []})
    api.delete(f"/orgs/{org}/integrations/{identity}")


def test_registry_makes_no_variable(api, org, plain, unique):
    docker = base64.b64encode(json.dumps({"auths": {"example.org": {"auth": "eA=="}}}).encode()).decode()
    made = api.post(f"/orgs/{org}/integrations", {"type": "private-registry", "name": unique("registry"), "options": {
        "name": "_json_key", "spec": {"password": docker}}})
    service = plain(CODE, FUNCTIONS, integrations=[{"key": "registry", "value": made["id"], "type": "private-registry"}])
    assert output(api, service["id"], "env", name="registry") is None


# ── not seen ─────────────────────────────────────────────────────────────────────────────────

@pytest.mark.core
@pytest.mark.parametrize("as_process", [False, True], ids=["threads", "processes"])
def test_logs_and_errors_do_not_tell(api, plain, make, as_process):
    value, other = secret(), 'pass"word\\ünd\n' + secret()
    made = plain(CODE, FUNCTIONS, runExecutionAsProcess=as_process,
                 integrations=[variable("TOKEN", make(value)), variable("OTHER", make(other))])
    for name in ("TOKEN", "OTHER"):
        assert output(api, made["id"], "told", name=name) > 4
        failed = api.run(made["id"], "trip", {"name": name})
        text = json.dumps(failed)
        assert failed["latestStatus"]["status"] == "failed" and f"cannot log in with [secret {name}]" in text
        assert value not in text and other.splitlines()[1] not in text
        assert "ValueError" in failed["latestStatus"]["error"]["stack"]

    def logged():
        text = json.dumps(api.post(f"/services/{made['id']}/logs", {"serviceId": made["id"], "size": 1000}))
        return text if text.count("raw [secret") >= 2 else None
    text = harness.wait_for("the lines are there", logged, 20)
    assert "it is [secret TOKEN], really" in text and "[secret OTHER]" in text
    assert value not in text and other.splitlines()[1] not in text


def test_what_dtlpy_reports_does_not_tell(api, plain, make):
    value = secret()
    made = plain(CODE, FUNCTIONS, integrations=[variable("TOKEN", make(value))], runtime={"concurrency": 2})
    told = api.execute(made["id"], "nap", {"seconds": 20})["id"]
    harness.wait_for("it runs", lambda: api.status_of(told) == "in-progress", 30)
    body = {"status": "in-progress", "message": "with %TOKEN%", "percentComplete": 5}
    assert output(api, made["id"], "ask", method="POST", path=f"/executions/{told}/progress", body=body) == [200, ""]
    text = json.dumps(api.execution(told))
    assert "with [secret TOKEN]" in text and value not in text
    api.post(f"/executions/{told}/terminate")


def test_functions_see_and_attach_none(api, org, plain, make):
    other = make(secret())
    mine = make(secret())
    made = plain(CODE, FUNCTIONS, integrations=[variable("TOKEN", mine)])
    for path in (f"/orgs/{org}/integrations", f"/integrations/{other}", f"/orgs/{org}/availableIntegrations"):
        assert output(api, made["id"], "ask", method="GET", path=path, body={})[0] == 403
    path = f"/services/{made['id']}"
    for settings in ({"secrets": [other]}, {"integrations": [variable("TOKEN", mine), variable("OTHER", other)]}):
        status, text = output(api, made["id"], "ask", method="PATCH", path=path, body=settings)
        assert status == 403 and "attach" in text
    assert output(api, made["id"], "ask", method="PATCH", path=path, body={"drainTime": 601})[0] == 200


def test_init_that_fails_does_not_tell(own_server):
    server, api = own_server()
    org, value = api.get("/users/me")["org"]["id"], secret()
    identity = api.post(f"/orgs/{org}/integrations", {"type": "key_value", "name": "T",
                                                       "options": {"key": "T", "value": value}})["id"]
    project = api.post("/projects", {"name": "p"})
    code = "import os\nclass ServiceRunner:\n    def __init__(self):\n        raise ValueError('bad ' + os.environ['T'])\n" \
           "    def run(self):\n        pass\n"
    made = harness.deploy_plain(api, project["id"], "s", code, {"run": {}}, integrations=[variable("T", identity)])

    def told():
        return "bad [secret T]" in json.dumps(api.get(f"/services/{made['id']}/status"))
    harness.wait_for("the failure is told", told, 60)
    api.post(f"/services/{made['id']}/stop", {"force": True})
    assert value not in everything(server, api)


def everything(server, api):
    """All that can be read of a server: its files, its log, its answers, the arguments of processes."""
    found = [path.read_bytes() for path in server.folder.rglob("*") if path.is_file()]
    found += [entry.read_bytes() for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline") if entry.exists()]
    org = api.get("/users/me")["org"]["id"]
    answers = [api.get(f"/orgs/{org}/integrations"), api.post("/audit/logs", {"pageSize": 1000}),
               api.post("/query/faas", {"resource": "services"}), api.get("/services"), api.get("/events")]
    return (b"\n".join(found) + json.dumps(answers).encode()).decode(errors="replace")


@pytest.mark.core
def test_nowhere_to_be_found(own_server, tmp_path):
    server, api = own_server()
    org, value, later = api.get("/users/me")["org"]["id"], secret(), secret()
    base = f"/orgs/{org}/integrations"
    identity = api.post(base, {"type": "key_value", "name": "T", "options": {"key": "T", "value": value}})["id"]
    project = api.post("/projects", {"name": "p"})
    made = harness.deploy_plain(api, project["id"], "s", CODE, FUNCTIONS, integrations=[variable("TOKEN", identity)])
    api.ready(made["id"])
    assert output(api, made["id"], "told", name="TOKEN") == len(value)
    api.run(made["id"], "trip", {"name": "TOKEN"})
    api.patch(base, {"integrationId": identity, "credentials": {"options": {"key": "T", "value": later}}})
    audits = [one["action"] for one in api.post("/audit/logs", {"pageSize": 100})["items"]
              if one["entityType"] == "integration"]
    assert sorted(audits) == ["change-secret", "create"]
    backup = tmp_path / "backup.tar"
    env = {name: text for name, text in os.environ.items() if not name.startswith("DROVER_")}
    env.update(DROVER_URL=server.url, DROVER_API_KEY=(server.data / "admin-key").read_text().strip())
    subprocess.run([harness.BUILD / "drover", "backup", backup], env=env, check=True, capture_output=True)
    archive = b"".join(tarfile.open(backup).extractfile(one).read() for one in tarfile.open(backup).getmembers()
                       if one.isfile())
    key = (server.data / "master-key").read_text().strip()
    text = everything(server, api)
    for hidden in (value, later):
        assert hidden not in text and hidden.encode() not in archive
        assert base64.b64encode(hidden.encode()).decode()[:24] not in text
    assert key.encode() not in archive and "master-key" not in tarfile.open(backup).getnames()
    assert os.stat(server.data / "master-key").st_mode & 0o777 == 0o600


@pytest.mark.skipif(harness.SANITIZED, reason="LeakSanitizer has to attach: these servers run with --core-dumps")
def test_no_core_files(own_server):
    server, api = own_server()
    limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]
    project = api.post("/projects", {"name": "p"})
    made = harness.deploy_plain(api, project["id"], "s", CODE, FUNCTIONS)
    api.ready(made["id"])
    ids = next(iter(server.supervisors().values()))
    runners = [pid for pid, one in processes_of(server) if "drover_runner" in one["cmdline"]]
    for pid in [ids["pid"], ids["agentPid"], *runners]:
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    for pid in [ids["agentPid"], *runners]:
        assert int(pathlib.Path(f"/proc/{pid}/coredump_filter").read_text(), 16) == 0
    assert runners


@pytest.mark.skipif(harness.SANITIZED, reason="LeakSanitizer has to attach: these servers run with --core-dumps")
def test_crash_leaves_nothing_of_the_key(own_server):
    """Not dumpable: a signal that would write a core writes none, even with the limit lifted."""
    server, _ = own_server()
    try:
        resource.prlimit(server.process.pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except PermissionError:  # then it is the limit that is tested
        pass
    server.process.send_signal(signal.SIGABRT)
    assert server.process.wait(30) == -signal.SIGABRT
    assert not list(server.folder.glob("**/core*"))
    server.start()


# ── the agents' own route ────────────────────────────────────────────────────────────────────

def ask_link(server, path, token):
    link = http.client.HTTPConnection("localhost")
    link.sock = socket.socket(socket.AF_UNIX)
    link.sock.connect(str(server.data / "agent.sock"))
    link.request("GET", path, headers={"authorization": f"Bearer {token}"})
    answer = link.getresponse()
    return answer.status, json.loads(answer.read())


def test_integration_env_is_for_its_agent(server, api, plain, make):
    value = secret()
    mine = plain(CODE, FUNCTIONS, integrations=[variable("TOKEN", make(value))])
    other = plain(CODE, FUNCTIONS)
    specs = [json.loads(path.read_text()) for path in (server.data / "run").glob("*/spec.json")]
    tokens = {one["serviceId"]: one["token"] for one in specs}
    path = f"/api/v1/services/{mine['id']}/integration-env"
    assert ask_link(server, path, tokens[mine["id"]]) == (200, {"env": [{"key": "TOKEN", "value": value}]})
    assert ask_link(server, path, tokens[other["id"]])[0] == 403
    assert ask_link(server, path, api.session.headers["authorization"].split()[1])[0] == 401
    api.bad(404, "GET", f"/services/{mine['id']}/integration-env")
    assert value not in "".join(path.read_text() for path in (server.data / "run").glob("*/spec.json"))


# ── rotation ─────────────────────────────────────────────────────────────────────────────────

@pytest.mark.core
def test_rotation_under_load(api, org, plain, make):
    values = [secret() for _ in range(4)]
    identity = make(values[0])
    made = plain(CODE, FUNCTIONS, integrations=[variable("TOKEN", identity)],
                 runtime={"concurrency": 4, "numReplicas": 2})
    api.ready(made["id"], 2)
    ids, going = [], True

    def load():
        while going:
            ids.append(api.execute(made["id"], "nap", {"seconds": 0.05})["id"])
    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for value in values[1:]:
        answer = api.call("PATCH", f"/orgs/{org}/integrations?reloadServices=true", {
            "integrationId": identity, "credentials": {"options": {"key": "T", "value": value}, "type": "key_value"}})
        assert answer.ok and value not in answer.text
        harness.wait_for("functions get the new value", lambda: output(api, made["id"], "env", name="TOKEN") == value, 90, 0.2)
    going = False
    for thread in threads:
        thread.join()
    ended = [api.finished(one) for one in ids]
    assert ended and {one["latestStatus"]["status"] for one in ended} == {"success"}
    assert {one["output"] for one in ended} <= set(values)


def test_without_reload_agents_stay(api, org, plain, make):
    first, second = secret(), secret()
    identity = make(first)
    made = plain(CODE, FUNCTIONS, integrations=[variable("TOKEN", identity)])
    replica = {one["replicaId"] for one in api.ready(made["id"])}
    api.patch(f"/orgs/{org}/integrations", {"integrationId": identity, "credentials": {"options": {"key": "T", "value": second}}})
    assert output(api, made["id"], "env", name="TOKEN") == first
    assert {one["replicaId"] for one in api.ready(made["id"])} == replica
    api.post(f"/services/{made['id']}/restart", {"replicaName": replica.pop()})
    harness.wait_for("a reload brings it", lambda: output(api, made["id"], "env", name="TOKEN") == second, 60, 0.2)


# ── the master key ───────────────────────────────────────────────────────────────────────────

def master_key(server, *arguments):
    return subprocess.run([harness.BUILD / "drover", "master-key", "--data", server.data, *arguments],
                          capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def one_secret(own_server):
    server, api = own_server()
    org, value = api.get("/users/me")["org"]["id"], secret()
    identity = api.post(f"/orgs/{org}/integrations", {"type": "key_value", "name": "T",
                                                       "options": {"key": "T", "value": value}})["id"]
    project = api.post("/projects", {"name": "p"})
    made = harness.deploy_plain(api, project["id"], "s", CODE, FUNCTIONS, integrations=[variable("TOKEN", identity)])
    api.ready(made["id"])
    return server, api, made["id"], value


def test_new_master_key(one_secret):
    server, api, service, value = one_secret
    before = (server.data / "master-key").read_text()
    refused = master_key(server, "--rotate")
    assert refused.returncode == 1 and "server" in refused.stderr
    assert (server.data / "master-key").read_text() == before
    server.stop()
    server.stop_agents()
    told = master_key(server, "--rotate")
    assert told.returncode == 0 and "1 secrets are sealed" in told.stdout, told.stderr
    after = (server.data / "master-key").read_text()
    assert after.strip() != before.strip() and len(after.split()) == 1
    server.start()
    harness.wait_for("the function has it", lambda: output(api, service, "env", name="TOKEN") == value, 60, 0.2)


def test_restored_without_the_key(one_secret):
    server, api, service, value = one_secret
    server.stop()
    server.stop_agents()
    key = server.data / "master-key"
    kept = key.read_text()
    key.unlink()
    start = server.log_position()
    server.start()
    warned = [line["message"] for line in server.log_lines(start) if line["level"] == "warn"]
    assert any("integration T" in one and "cannot be opened" in one and "master key" in one for one in warned), warned
    harness.wait_for("the status says why", lambda: "docs/secrets.md" in json.dumps(api.get(f"/services/{service}/status")), 60)
    refused = master_key(server)
    assert refused.returncode == 1
    server.stop()
    server.stop_agents()
    assert "T (" in master_key(server).stdout
    with key.open("a") as file:
        file.write(kept)
    server.start()
    harness.wait_for("the function has it", lambda: output(api, service, "env", name="TOKEN") == value, 60, 0.2)


def test_key_from_a_command(own_server, tmp_path):
    key = tmp_path / "kms"
    key.write_text(base64.b64encode(os.urandom(32)).decode())
    server, api = own_server(master_key_command=f"cat {key}")
    org = api.get("/users/me")["org"]["id"]
    api.post(f"/orgs/{org}/integrations", {"type": "key_value", "name": "T", "options": {"key": "T", "value": secret()}})
    assert not (server.data / "master-key").exists()
    server.stop()
    new = base64.b64encode(os.urandom(32)).decode()
    key.write_text(new + "\n" + key.read_text())
    told = master_key(server, "--master-key-command", f"cat {key}", "--rotate")
    assert told.returncode == 0, told.stderr
    key.write_text(new)
    start = server.log_position()
    server.start()
    assert not [line for line in server.log_lines(start) if "cannot be opened" in line["message"]]
    server.stop()
    server.options["master-key-command"] = "echo the key; exit 3"
    server.spawn()
    assert server.process.wait(30) == 1
    assert "exit code 3" in server.tail() and "the key;" not in server.tail(2)
    server.options["master-key-command"] = f"cat {key}"
    server.log.write_text("")
    server.start()
