# SPDX-License-Identifier: Apache-2.0
"""Packages whose entry point is a shared object or JavaScript: pushed, deployed and run by dtlpy."""
import pathlib
import shutil
import subprocess

import pytest

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
FUNCTIONS = {"twice": {"n": "Integer"}, "echo": {"value": "Json"}, "advance": {}, "wait": {}, "killed": {}, "pid": {},
          "print": {"n": "Integer"}, "hang": {}}
NODE = """
const { setTimeout: sleep } = require('node:timers/promises');
exports.twice = async ({ n }) => n * 2;
exports.echo = (inputs) => inputs;
exports.advance = (inputs, { progress }) => progress(25, 'a quarter');
exports.wait = async (inputs, { signal }) => { console.log('waiting'); await sleep(600000, 0, { signal }); };
exports.killed = () => { process.kill(process.pid, 'SIGKILL'); while (true); };
exports.pid = () => process.pid;
exports.print = ({ n }) => { for (let i = 0; i < n; i++) console.log('line', i); };
exports.hang = () => { console.log('waiting'); while (true); };
"""


@pytest.fixture(scope="module")
def sources(working_folder):
    """Folders of a package in C and of one in JavaScript."""
    native, node = working_folder / "native", working_folder / "node"
    native.mkdir()
    node.mkdir()
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{ROOT}/include", "-o", native / "functions.so",
                    ROOT / "tests/runner/functions.c", "-pthread"], check=True)
    (node / "main.js").write_text(NODE)
    return {"functions.so": native, "main.js": node}


@pytest.fixture(scope="module", params=["functions.so", "main.js"])
def package(request, dl, project, sources):
    entry = request.param
    if entry == "main.js" and not shutil.which("node"):
        pytest.skip("there is no node")
    functions = [dl.PackageFunction(name=name, inputs=[dl.FunctionIO(name=key, type=kind) for key, kind in inputs.items()])
                 
                 for name, inputs in FUNCTIONS.items()]
    module = dl.PackageModule(name="default_module", class_name="ServiceRunner", entry_point=entry, functions=functions)
    # dtlpy looks into the entry point as Python, unless it is told not to.
    return project.packages.push(package_name="runner-" + entry.replace(".", "-"), src_path=str(sources[entry]),
                                 modules=[module], ignore_sanity_check=True)


@pytest.fixture(scope="module", params=[False, True], ids=["threads", "processes"])
def service(request, dl, api, project, package):
    service = project.services.deploy(service_name=f"{package.name}-{request.param}", package=package,
                                      runtime=dl.KubernetesRuntime(concurrency=3), run_execution_as_process=request.param,
                                      drain_time=2)
    service.apart = request.param
    api.ready(service.id)
    yield service
    service.delete(force=True)


def log_of(api, execution):
    """The messages of an ended execution's log."""
    messages, body = [], {"direction": "asc", "follow": True, "system": False, "logLevel": "DEBUG", "executionId": [execution],
                          "start": "2020-01-01T00:00:00"}
    while True:
        page = api.post("/services/logs", body)
        if page["stop"]:
            return messages
        messages += [line["message"] for line in page["logs"]]
        body["checkpoint"] = page["checkpoint"]


def running(api, service, function):
    """The id of an execution that has begun and will not end by itself."""
    execution = api.execute(service.id, function)["id"]
    harness.wait_for("it runs", lambda: api.status_of(execution) == "in-progress")
    return execution


def terminate(api, execution):
    api.post(f"/executions/{execution}/terminate")
    return api.finished(execution)["latestStatus"]["status"]


@pytest.mark.core
def test_executions_by_dtlpy(dl, service, api):
    execution = service.execute(function_name="twice", execution_input=[dl.FunctionIO(name="n", value=21, type="Integer")])
    execution = execution.wait()
    assert execution.latest_status["status"] == "success" and execution.output == 42
    value = {"a": [1, None, "é"], "b": 0.5}
    assert api.run(service.id, "echo", {"value": value})["output"] == {"value": value}


def test_progress_and_log(service, api):
    ended = api.run(service.id, "advance")
    assert ended["latestStatus"]["status"] == "success"
    assert "a quarter" in [one.get("message") for one in ended["status"]]
    ended = api.run(service.id, "print", {"n": 3})
    assert [line for line in log_of(api, ended["id"]) if line.startswith("line")] == ["line 0", "line 1", "line 2"]


def test_kill_event(service, api):
    assert terminate(api, running(api, service, "wait")) == "terminated"


def test_a_crash(service, api):
    other = running(api, service, "wait") if service.apart else None
    ended = api.run(service.id, "killed", maxAttempts=1)
    assert ended["latestStatus"]["status"] == "failed"
    assert "signal 9" in str(ended["latestStatus"]) or "SIGKILL" in str(ended["latestStatus"])
    if service.apart:  # nobody else has felt it
        assert api.status_of(other) == "in-progress"
        assert terminate(api, other) == "terminated"
    assert api.run(service.id, "twice", {"n": 2})["output"] == 4


def test_processes_are_the_executions_own(service, api):
    pids = {api.run(service.id, "pid")["output"] for _ in range(3)}
    assert len(pids) == (3 if service.apart else 1)


@pytest.mark.parametrize("service", [True], ids=["processes"], indirect=True)
def test_one_that_heeds_nothing_is_ended_alone(service, api):
    (before,) = api.get(f"/services/{service.id}/status")["runtimeStatus"]
    other, hanging = running(api, service, "wait"), running(api, service, "hang")
    assert terminate(api, hanging) == "terminated"
    assert api.status_of(other) == "in-progress"
    assert api.run(service.id, "twice", {"n": 3})["output"] == 6
    assert terminate(api, other) == "terminated"
    (after,) = api.get(f"/services/{service.id}/status")["runtimeStatus"]
    assert after["replicaId"] == before["replicaId"] and after["restartCount"] == before["restartCount"]


# ── what is refused, and what cannot start ───────────────────────────────────────────────────

@pytest.mark.parametrize("entry", ["functions.so", "main.mjs"])
def test_requirements_need_a_python_module(api, project, package, entry, unique):
    body = {"name": unique("wants"), "projectId": project.id, "codebase": {"type": "item", "itemId": package.codebase.item_id},
            "modules": [{"name": "m", "entryPoint": entry, "functions": []}], "requirements": [{"name": "numpy"}]}
    error = api.bad(400, "POST", "/packages", body)
    assert error["message"].startswith("requirements are Python packages") and entry in error["message"]
    body["modules"].append({"name": "other", "entryPoint": "main.py", "functions": []})
    api.delete(f"/packages/{api.post('/packages', body)['id']}")


def failed_start(api, identity):
    def said():
        page = api.post("/services/logs", {"direction": "asc", "system": False, "logLevel": "DEBUG", "serviceId": identity,
                                           "start": "2020-01-01T00:00:00"})
        return [line["message"] for line in page["logs"]]
    return harness.wait_for("it says why it does not start", said, 30)


def test_an_object_that_cannot_be_loaded(api, project, unique):
    service = harness.deploy_plain(api, project.id, unique("broken"), "", {"run": {}}, {"functions.so": "no object"},
                                   entry="functions.so")
    assert "functions.so: file too short" in failed_start(api, service["id"])[0]
    api.delete(f"/services/{service['id']}?force=true")


def test_node_that_is_not_there(own_server, unique):
    server, api = own_server(node="/nowhere/node")
    project = api.post("/projects", {"name": "p"})
    service = harness.deploy_plain(api, project["id"], unique("js"), "", {"run": {}}, {"main.js": NODE}, entry="main.js")
    (first, *_) = failed_start(api, service["id"])
    assert "needs Node.js 18 or newer" in first and "cannot start /nowhere/node: No such file" in first
    api.delete(f"/services/{service['id']}?force=true")
