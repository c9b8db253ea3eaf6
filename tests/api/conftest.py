# SPDX-License-Identifier: Apache-2.0
"""One server for the whole run, with dtlpy logged in to it. After each test the server's log must
hold no errors but those that the test announced with @pytest.mark.server_errors("pattern")."""
import os
import pathlib
import re
import shutil
import sys
import tempfile
import uuid

import pytest

# dtlpy reads this when it is imported, and keeps its state in the working folder.
HOME = pathlib.Path(tempfile.mkdtemp(prefix="drover-api-"))
os.environ["DATALOOP_PATH"] = str(HOME / "dataloop")

import harness  # noqa: E402

FUNCTIONS = pathlib.Path(__file__).resolve().parent / "functions"


def pytest_configure(config):
    config.addinivalue_line("markers", "server_errors(pattern): errors in the server's log that the test causes")


@pytest.fixture(scope="session", autouse=True)
def working_folder():
    folder = HOME / "work"
    folder.mkdir()
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="session")
def server(working_folder):
    server = harness.Server(HOME / "server", login_tries="1000")
    server.start()
    yield server
    problems = server.close()
    if problems or os.environ.get("DROVER_TEST_KEEP"):
        print(f"kept: {HOME}", file=sys.stderr)
    else:
        shutil.rmtree(HOME, ignore_errors=True)
    assert not problems, "\n".join(problems)


@pytest.fixture(autouse=True)
def quiet_log(request, server):
    start = server.log_position()
    yield
    allowed = [re.compile(mark.args[0]) for mark in request.node.iter_markers("server_errors")]
    wrong = [line for line in server.complaints(start) if not any(one.search(line) for one in allowed)]
    for report in server.folder.glob("sanitizer.*"):  # told once
        report.rename(report.with_name("told-" + report.name))
    assert server.process.poll() is None, f"the server ended:\n{server.tail()}"
    assert not wrong, "the server complained:\n" + "\n".join(wrong[:100])


@pytest.fixture
def own_server(tmp_path):
    """own_server(**options): a server for this test alone, and the API of its administrator."""
    made = []

    def start(**options):
        one = harness.Server(tmp_path / f"server{len(made)}", **options).start()
        made.append(one)
        return one, harness.Api(one, (one.data / "admin-key").read_text().strip())

    yield start
    problems = [line for one in made for line in one.close() + one.complaints()]
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def admin_key(server):
    return (server.data / "admin-key").read_text().strip()


@pytest.fixture(scope="session")
def api(server, admin_key):
    return harness.Api(server, admin_key)


@pytest.fixture(scope="session")
def dl(server, admin_key):
    import dtlpy
    dtlpy.client_api.add_environment(environment=server.url + "/api/v1", alias="drover-test", gate_url=server.url,
                                     verify_ssl=False, url=server.url + "/")
    dtlpy.setenv("drover-test")
    dtlpy.login_api_key(api_key=admin_key)
    dtlpy.verbose.disable_progress_bar = True
    return dtlpy


@pytest.fixture
def unique():
    """A name that no other test has."""
    return lambda prefix="t": f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def project(dl):
    return dl.projects.create(project_name="api-tests")


@pytest.fixture(scope="session")
def dataset(project):
    return project.datasets.create(dataset_name="data")


@pytest.fixture(scope="session")
def package(dl, project, working_folder):
    """tests/api/functions, pushed as a user would push it."""
    source = working_folder / "functions"
    shutil.copytree(FUNCTIONS, source, dirs_exist_ok=True)
    return project.packages.push(package_name="workhorse", src_path=str(source), modules=modules(dl))


def modules(dl):
    """The module of tests/api/functions: every function with its typed inputs."""
    kinds = {"echo": {"value": "Json"}, "add": {"a": "Number", "b": "Number"}, "hello": {"name": "String"},
             "size": {"item": "Item"}, "fail": {"text": "String"}, "steps": {"count": "Integer"},
             "talk": {"lines": "Integer"}, "nap": {"seconds": "Number"}, "many": {"seconds": "Number"}, "odd": {},
             "unprintable": {}, "who": {}, "describe": {}, "leave": {}}
    functions = [dl.PackageFunction(name=name, inputs=[dl.FunctionIO(name=key, type=kind) for key, kind in inputs.items()])
                 for name, inputs in kinds.items()]
    return [dl.PackageModule(name="workhorse", class_name="ServiceRunner", entry_point="main.py",
                             init_inputs=[dl.FunctionIO(name="greeting", type="String")], functions=functions)]


@pytest.fixture(scope="session")
def service(dl, api, project, package):
    """The workhorse: one replica with ten slots and dtlpy in it, ready."""
    service = project.services.deploy(service_name="workhorse", package=package, init_input={"greeting": "Hello"},
                                      runtime=dl.KubernetesRuntime(concurrency=10))
    api.ready(service.id)
    return service


@pytest.fixture
def plain(api, project, unique):
    """plain(code, functions, **service settings): a service of plain Python, deleted at the end."""
    made = []

    def deploy(text, functions, ready=True, **settings):
        one = harness.deploy_plain(api, project.id, unique("plain"), text, functions, **settings)
        made.append(one["id"])
        if ready:
            api.ready(one["id"])
        return one

    yield deploy
    for identity in made:
        api.call("DELETE", f"/services/{identity}?force=true")


@pytest.fixture(scope="session")
def people(api, server):
    """people(role, project): an API of somebody with that role; None: no member at all."""
    made = {}

    def find(role, project_id):
        key = role, project_id
        if key not in made:
            email = f"{role or 'nobody'}-{uuid.uuid4().hex[:6]}@example.org"
            password = "correct horse battery"
            api.post("/users", {"email": email, "password": password})
            if role:
                api.post(f"/projects/{project_id}/members/{email}", {"role": role})
            answer = api.post("/token?default", {"type": "user_credentials", "username": email, "password": password})
            made[key] = harness.Api(server, answer["id_token"])
            made[key].email, made[key].password = email, password
        return made[key]

    return find
