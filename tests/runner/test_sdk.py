# SPDX-License-Identifier: Apache-2.0
"""Runners with the SDK: signed in without a call, entities as inputs, context, progress.
DTLPY_PYTHON names an interpreter that has dtlpy; by default the one that runs the tests."""
import base64
import http.server
import json
import os
import subprocess
import sys
import threading
import time

import pytest

PYTHON = os.environ.get("DTLPY_PYTHON", sys.executable)
HAS_SDK = subprocess.run(
    [PYTHON, "-c", "import importlib.util, sys; sys.exit(not importlib.util.find_spec('dtlpy'))"],
    check=False).returncode == 0

pytestmark = [
    pytest.mark.skipif(not HAS_SDK, reason="dtlpy is not installed: set DTLPY_PYTHON"),
    pytest.mark.parametrize("python", [PYTHON]),
]


def token(user):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    return "%s.%s.c2ln" % (part({"alg": "HS256"}),
                           part({"email": user, "exp": int(time.time()) + 3600}))


class Platform(http.server.ThreadingHTTPServer):
    """Answers GETs of entities by id, and remembers what was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.url = "http://127.0.0.1:%d" % self.server_port

    @property
    def sdk(self):
        return {"url": self.url + "/api/v1", "gate": self.url, "token": token("a@b.c")}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["authorization"]))
        kind, _, id = self.path[len("/api/v1/"):].rpartition("/")
        code = 404 if id.startswith("missing") else 401 if id.startswith("secret") else 200
        answer = {"message": "no " + id, "statusCode": code} if code != 200 else {
            "id": id, "name": "name of " + id, "kind": kind, "projectId": "p1", "org": {"id": "o"},
            "projects": ["p1"], "filename": "/f", "datasetId": "d1", "type": "file"}
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def platform():
    server = Platform()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


SERVICE = {"id": "s1", "name": "service", "projectId": "p1", "packageId": "k1", "url": "u",
           "packageRevision": "1.0.0", "version": "1.0.0.0", "moduleName": "module",
           "initParams": {}, "runtime": {"concurrency": 10}, "mode": {"type": "regular"}}
PACKAGE = {"id": "k1", "name": "package", "version": "1.0.0", "projectId": "p1", "modules": [],
           "codebase": {"type": "item", "itemId": "i"}, "url": "u"}
PROJECT = {"id": "p1", "name": "project", "org": {"id": "o", "name": "org"}}


def load(agent, platform, functions, **more):
    return agent.load(functions, **{"sdk": platform.sdk, "service": SERVICE, "package": PACKAGE,
                                    "project": PROJECT, **more})


def test_user_code_finds_the_sdk_signed_in(start, platform, tmp_path):
    agent = start("""
        import dtlpy as dl, logging
        def run():
            dl.client_api.token_expired()
            logging.getLogger("dtlpy").debug("internal")
            logging.getLogger("dtlpy").warning("shown once")
            return [dl.environment(), dl.info(with_token=False)["user_email"], dl.token()]
        def get(): return dl.projects.get(project_id="p9").name
    """, env={"DATALOOP_PATH": str(tmp_path / "state")})
    ready = load(agent, platform, ["run", "get"])
    assert ready["dtlpy"].startswith("1.")
    given = platform.sdk
    environment, email, used = agent.output("e1")
    assert (environment, email) == (given["url"], "a@b.c") and used.count(".") == 2
    assert platform.asked == []
    assert agent.lines("e1") == ["shown once", "[Done] Executing function."]
    renewed = token("new@b.c")
    agent.send(t="token", token=renewed)
    time.sleep(0.2)
    assert agent.output("e2")[1:] == ["new@b.c", renewed]
    assert agent.output("e3", "get") == "name of p9"
    assert platform.asked == [("/api/v1/projects/p9", "Bearer " + renewed)]
    for folder, _, files in os.walk(tmp_path / "state"):
        for name in files:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                text = file.read()
            assert renewed not in text and used not in text, name


def test_the_sdk_is_not_imported_for_nothing(start, platform):
    agent = start("""
        import sys
        def run(): return "dtlpy" in sys.modules
        def late():
            import dtlpy as dl
            return dl.environment()
    """)
    ready = load(agent, platform, ["run", {"name": "late", "input": [
        {"name": "n", "type": "Json"}]}])
    assert ready["dtlpy"].startswith("1.")
    assert agent.output("e1") is False
    assert agent.output("e2", "late") == platform.sdk["url"]


def test_the_sdk_keeps_its_files_apart(start, platform, tmp_path):
    """In a folder of the process, which is made where temporary files are."""
    agents = [start("""
        import os
        def run():
            import dtlpy
            return os.environ["DATALOOP_PATH"]
    """) for _ in range(2)]
    for agent in agents:
        load(agent, platform, ["run"])
    folders = [agent.output("e1") for agent in agents]
    assert len(set(folders)) == 2
    for folder in folders:
        assert os.path.dirname(folder) == str(tmp_path / "temporary") and os.path.isdir(folder)


@pytest.mark.parametrize("kind", ["Dataset", "Item", "Execution", "Task", "Assignment", "Service",
                                  "Project", "Recipe", "Model"])
def test_entities_as_inputs(start, platform, transport, kind):
    agent = start("""
        def run(one, many=()):
            return [type(one).__name__, one.id, [entity.id for entity in many]]
    """)
    load(agent, platform, [{"name": "run", "input": [
        {"name": "one", "type": kind}, {"name": "many", "type": kind + "[]"}]}])
    key = kind.lower() + "_id"
    assert agent.output("e1", one="x1", many=["x2", {"dataset_id": "d1", key: "x3"}]) == [
        kind, "x1", ["x2", "x3"]]
    assert agent.output("e2", one={key: "x4"}) == [kind, "x4", []]
    error = agent.call("e3", one={"wrong": 1})["error"]["message"]
    assert "input 'one' is of type %s: expected an id or an object with '%s'" % (kind, key) in error
    missing = agent.call("e4", one="missing1")
    assert missing["status"] == "failed" and missing["error"]["type"] == "NotFound"
    assert "drover_" not in missing["error"]["stack"].split("dtlpy", 1)[0]


def test_other_types_are_not_touched(start, platform):
    agent = start("def run(**values): return values")
    types = ["Json", "String", "Number", "Integer", "Float", "Boolean", "Json[]", "String[]"]
    load(agent, platform, [{"name": "run", "input": [
        {"name": "v%d" % n, "type": one} for n, one in enumerate(types)]}])
    values = {"v0": {"item_id": "x"}, "v1": 5, "v2": "5", "v3": 1.5, "v4": None, "v5": "yes",
              "v6": "single", "v7": [1]}
    assert agent.output("e1", **values) == values
    assert platform.asked == []


RUNNER = """
    import dtlpy as dl
    class Runner(dl.BaseServiceRunner):
        def __init__(self, dataset=None, n=1):
            self.seen = [dataset and dataset.id, n, self.service_entity.name]
        def run(self, item, context, progress):
            assert isinstance(progress, dl.Progress) and isinstance(context, dl.Context)
            assert context.progress is progress
            progress.update(progress=5)
            context.logger.info("in context")
            return {"seen": self.seen, "service": context.service.name, "id": context.execution_id,
                    "package": context.package.name, "project": context.project.name,
                    "trigger": context.trigger_id, "event": context.event.action,
                    "execution": [context.execution.id, context.execution.function_name,
                                  context.execution.in_progress()],
                    "item": item, "sdk": context.sdk.__name__, "entity": self.service_entity.id}
        def wait(self, progress):
            import time
            progress.update(message="waiting")
            while True:
                self.kill_event()
                time.sleep(0.01)
        def reset(self): self.do_reset()
        def out(self): return [self.service_entity, dl.items.get(item_id="x1")]
"""


def test_a_service_runner(start, platform):
    agent = start(RUNNER)
    load(agent, platform, [{"name": "run", "input": [{"name": "item", "type": "Json"}]}, "wait",
                           "reset", "out"], class_name="Runner",
         init_inputs=[{"name": "dataset", "type": "Dataset"}, {"name": "n", "type": "Json"}],
         init_params={"dataset": "d5", "n": 2})
    agent.invoke("e1", execution={
        "createdAt": 1, "creator": "a@b.c", "triggerId": "t1", "attempt": 2,
        "eventContext": {"action": "Created", "resource": "Item"}}, item={"a": 1})
    result = agent.result("e1")
    assert result["status"] == "success", result
    assert result["output"] == {
        "seen": ["d5", 2, "service"], "service": "service", "id": "e1", "package": "package",
        "project": "project", "trigger": "t1", "event": "Created",
        "execution": ["e1", "run", True], "item": {"a": 1}, "sdk": "dtlpy", "entity": "s1"}
    assert agent.lines("e1") == ["in context", "[Done] Executing function."]
    agent.invoke("e2", "wait")
    agent.until(t="progress", message="waiting")
    agent.send(t="cancel", id="e2")
    assert agent.result("e2")["status"] == "terminated"
    assert agent.output("e3", "ping") == "pong"
    service, item = agent.output("e4", "out")
    assert service["id"] == "s1" and item["id"] == "x1"
    agent.output("e5", "reset")
    agent.until(t="reset")
    assert agent.stop() == 0


@pytest.mark.parametrize("kind", ["cpu", "rabbitmq"])
def test_services_with_an_autoscaler(start, platform, kind):
    agent = start("""
        def run(context):
            scaler = context.service.runtime.autoscaler
            return [context.service.name, context.service.runtime.concurrency, scaler and scaler.max_replicas]
    """)
    service = {**SERVICE, "runtime": {"concurrency": 10, "autoscaler": {
        "type": kind, "minReplicas": 1, "maxReplicas": 3}}}
    load(agent, platform, ["run"], service=service)
    assert agent.output("e1") == ["service", 10, None if kind == "cpu" else 3]


def test_constructors_whose_inputs_cannot_be_read(start, platform):
    for id, kind in (("missing1", "init"), ("secret1", "authorization")):
        agent = start(RUNNER)
        frame = load(agent, platform, ["reset"], class_name="Runner", answer="failed",
                     init_inputs=[{"name": "dataset", "type": "Dataset"}],
                     init_params={"dataset": id})
        assert frame["type"] == kind, frame
        assert agent.drain() == 1
