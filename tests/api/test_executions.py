# SPDX-License-Identifier: Apache-2.0
"""Executions: run, watch, stop, repeat, and find them again."""
import base64
import io
import json
import re
import threading
import time

import pytest

import harness

DONE = "[Done] Executing function."


def lines_of(api, service, execution=None, **more):
    """Every log line, fetched as dtlpy does: until the server says stop."""
    body = {"direction": "asc", "follow": False, "logLevel": "DEBUG", "serviceId": service.id,
            "projectId": service.project_id, "start": "2020-01-01T00:00:00", "size": 100, **more}
    if execution:
        body["executionId"] = [execution]
    lines = []
    while True:
        page = api.post("/services/logs", body)
        if page["stop"]:
            return lines + page["logs"]
        lines += page["logs"]
        # What dtlpy sends for further pages: no end and no text, and every level.
        body = {key: value for key, value in body.items() if key not in ("end", "text")}
        body.update(logLevel="DEBUG", size=100, checkpoint=page["checkpoint"])


def logged(api, service, execution):
    """Waits until the execution's last line is there: lines may come a moment after the result."""
    def last():
        lines = lines_of(api, service, execution)
        return lines and lines[-1]["message"] == DONE and lines
    return harness.wait_for("the last line comes", last, 20)


# ── run ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.core
def test_execute_and_wait(dl, service):
    execution = service.execute(function_name="add", execution_input={"a": 1, "b": 2.5}, project_id=service.project_id)
    execution = execution.wait()
    assert execution.latest_status["status"] == "success" and execution.output == 3.5
    assert execution.attempts == 1 and execution.function_name == "add"
    assert dl.executions.get(execution_id=execution.id).output == 3.5


def test_execute_in_one_call(service, capsys):
    out = service.execute(function_name="hello", execution_input={"name": "Ada"}, sync=True, return_output=True,
                          project_id=service.project_id)
    assert out == "Hello, Ada!"


def test_typed_inputs(dl, service):
    inputs = [dl.FunctionIO(type="Number", name="a", value=2), dl.FunctionIO(type="Number", name="b", value=3)]
    execution = service.execute(function_name="add", execution_input=inputs, project_id=service.project_id).wait()
    assert execution.output == 5


@pytest.mark.core
def test_item_input(dl, service, dataset):
    item = dataset.items.upload(local_path=io.BytesIO(b"twelve bytes"), remote_name="twelve.txt")
    given = [dl.FunctionIO(type=dl.PackageInputType.ITEM, name="item", value={"item_id": item.id, "dataset_id": dataset.id})]
    execution = service.execute(function_name="size", execution_input=given, project_id=service.project_id).wait()
    assert execution.output == {"name": "twelve.txt", "bytes": 12}, execution.latest_status
    execution = service.execute(function_name="size", item_id=item.id, project_id=service.project_id).wait()
    assert execution.output == {"name": "twelve.txt", "bytes": 12}, execution.latest_status


@pytest.mark.parametrize("value", [
    None, True, False, 0, -1, 2**70, -(2**63), 0.1, 1e300, 5e-324, -0.0, "", "ünï 你好 😀", "\u2028\u2029\x7f", "\"\\/\b\f\n\r\t",
    [], {}, [[[]]], {"a": {"b": [1, None, "x"]}}, {"": 1, " ": 2, "ключ": 3}, list(range(1000)), "x" * 200_000,
], ids=lambda value: repr(value)[:20])
def test_values_survive(api, service, value):
    execution = api.run(service.id, "echo", {"value": value})
    assert execution["latestStatus"]["status"] == "success", execution["latestStatus"]
    assert execution["output"] == value and type(execution["output"]) is type(value)
    assert execution["input"] == {"value": value}


def test_bytes_of_inputs_and_outputs(api, service):
    """Numbers and texts pass as they were written, not as some library would write them."""
    text = '{"big":1180591620717411303424,"tenth":0.1,"zeros":1.500,"exp":1E2,"neg":-0.0,"esc":"\\u00e9\\/","order":{"z":1,"a":2}}'
    body = '{"functionName":"echo","projectId":"%s","input":{"value":%s}}' % (service.project_id, text)
    answer = api.call("POST", f"/executions/{service.id}", data=body.encode(), headers={"content-type": "application/json"})
    assert answer.status_code == 201
    identity = answer.json()["id"]
    api.finished(identity)
    shown = api.call("GET", f"/executions/{identity}").text
    assert '"input":{"value":%s}' % text in shown
    execution = api.run(service.id, "odd")
    shown = re.sub(r"\s", "", api.call("GET", f"/executions/{execution['id']}").text)
    assert "1180591620717411303424" in shown and '"tenth":0.1' in shown and '"small":5e-324' in shown
    assert execution["output"]["text"] == "ключ 😀 \u2028 \"quoted\" \\"


def test_output_that_is_no_json(api, service):
    execution = api.run(service.id, "unprintable")
    assert execution["latestStatus"]["status"] == "failed"
    assert "json" in json.dumps(execution["latestStatus"]["error"]).lower()


@pytest.mark.core
def test_failure_tells_why(dl, service):
    execution = service.execute(function_name="fail", execution_input={"text": "no such luck ünï"},
                                project_id=service.project_id).wait()
    assert execution.latest_status["status"] == "failed"
    error = execution.latest_status["error"]
    assert "no such luck ünï" in error["message"]
    assert "Traceback" in error["stack"] and "main.py" in error["stack"] and "raise ValueError(text)" in error["stack"]


def test_functions_use_dtlpy_as_their_service(api, service):
    execution = api.run(service.id, "who")
    assert execution["latestStatus"]["status"] == "success", execution["latestStatus"]
    assert execution["output"] != "admin@localhost"


def test_context(api, service):
    execution = api.run(service.id, "describe")
    assert execution["output"] == {"service": "workhorse", "project": service.project_id, "package": "workhorse"}, \
        execution["latestStatus"]


@pytest.mark.parametrize("body, field", [
    ({"functionName": "nonsense", "input": {}}, "functionName"),
    ({"functionName": 5, "input": {}}, "functionName"),
    ({"functionName": "echo", "input": {"value": 1, "more": 2}}, "input"),
    ({"functionName": "echo", "input": []}, "input"),
    ({"functionName": "echo", "input": "text"}, "input"),
])
def test_bad_executions(api, service, body, field):
    error = api.bad(400, "POST", f"/executions/{service.id}", body)
    assert error["field"].split(".")[0] == field, error


@pytest.mark.parametrize("text", [b"", b"{", b"[1,", b"nul", b"{\"functionName\":\"echo\",}", b"\xff\xfe", b"[" * 1000])
def test_bodies_that_are_no_json(api, service, text):
    answer = api.call("POST", f"/executions/{service.id}", data=text, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["message"]


def test_too_large_an_input(api, service):
    """What is over --max-input or --max-body says so; the latter is not read to its end."""
    for size, option in ((17 << 20, "--max-input"), (21 << 20, "--max-body")):
        text = b'{"functionName":"echo","input":{"value":"' + b"x" * size + b'"}}'
        answer = api.call("POST", f"/executions/{service.id}", data=text, headers={"content-type": "application/json"})
        assert answer.status_code == 413 and option in answer.json()["message"], answer.text[:500]


def test_concurrency(api, service):
    """Ten slots: ten naps of half a second take far less than five seconds."""
    start = time.monotonic()
    naps = [api.execute(service.id, "many", {"seconds": 0.5})["id"] for _ in range(10)]
    assert {api.finished(nap)["latestStatus"]["status"] for nap in naps} == {"success"}
    assert time.monotonic() - start < 3.5 * harness.SLOW


# ── many at once ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.core
def test_array(api, service):
    bodies = [{"functionName": "echo", "input": {"value": number}} for number in range(100)]
    bodies[50] = {"functionName": "nonsense", "input": {}}
    made = api.post(f"/executions/{service.id}", bodies)
    assert made[50]["error"]["statusCode"] == 400 and "nonsense" in made[50]["error"]["message"]
    for number, one in enumerate(made):
        if number != 50:
            assert api.finished(one["id"])["output"] == number


def test_too_long_an_array(api, service):
    bodies = [{"functionName": "echo", "input": {"value": 1}}] * 1001
    api.bad(413, "POST", f"/executions/{service.id}", bodies)


@pytest.mark.core
def test_wait_until_finished(api, service):
    execution = api.post(f"/executions/{service.id}?waitUntilExecutionIsFinished=true",
                         {"functionName": "echo", "input": {"value": "waited"}})
    assert execution["output"] == "waited" and execution["latestStatus"]["status"] == "success"
    execution = api.post(f"/executions/{service.id}",
                         {"functionName": "fail", "input": {"text": "x"}, "waitUntilExecutionIsFinished": True})
    assert execution["latestStatus"]["status"] == "failed"


def test_many_wait_at_once(api, service):
    results = [None] * 20

    def work(number):
        results[number] = api.post(f"/executions/{service.id}?waitUntilExecutionIsFinished=true",
                                   {"functionName": "echo", "input": {"value": number}})["output"]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == list(range(20))


def test_batch_over_items(dl, api, service, project, unique):
    items = project.datasets.create(dataset_name=unique("batch"))
    for number in range(7):
        items.items.upload(local_path=io.BytesIO(b"x" * number), remote_name=f"{number}.txt")
    filters = dl.Filters(field="type", values="file", context={"datasets": [items.id]})
    command = service.execute_batch(filters=filters, function_name="size")
    assert command.status == "success", command.error
    found = [execution for page in service.executions.list(filters=dl.Filters(
        resource=dl.FiltersResource.EXECUTION, field="functionName", values="size")) for execution in page]
    mine = [api.finished(one.id) for one in found if one.to_json()["input"]["item"].get("dataset_id") == items.id]
    assert sorted(one["output"]["bytes"] for one in mine) == list(range(7))


@pytest.fixture(scope="module")
def paused(api, project):
    """A paused service: what is asked of it wrongly is refused, and what is made stays."""
    code = "class ServiceRunner:\n    def run(self, value):\n        return value\n" \
           "    def see(self, item, more=None):\n        return more\n    def take(self, item):\n        pass\n"
    service = harness.deploy_plain(api, project.id, "paused", code, {
        "run": {"value": "Json"}, "see": {"more": "Json", "item": "Item"}, "take": {"item": "Json"}}, active=False)
    yield service
    api.delete(f"/services/{service['id']}?force=true")


def batch_of(query, **args):
    return {"functionName": "see", "batch": {"query": {"filter": query}, "args": args}}


@pytest.mark.parametrize("change, field", [
    ({"functionName": 5}, "functionName"),
    ({"functionName": ""}, "functionName"),
    ({"functionName": "nope"}, "functionName"),
    ({"functionName": "run"}, "functionName"),
    ({"functionName": None}, "functionName"),
    ({"batch": 5}, "batch"),
    ({"batch": {}}, "batch.query"),
    ({"batch": {"query": 5}}, "batch.query"),
    ({"batch": {"query": {"filter": {"nonsense": 1}}}}, "batch.query.filter"),
    ({"batch": {"query": {"filter": {}, "context": 5}}}, "batch.query.context"),
    ({"batch": {"query": {"filter": {}, "context": {"datasets": "x"}}}}, "batch.query.context.datasets"),
    ({"batch": {"query": {"filter": {}, "context": {"datasets": [5]}}}}, "batch.query.context.datasets[0]"),
    ({"batch": {"query": {"filter": {}}, "args": 5}}, "batch.args"),
    ({"batch": {"query": {"filter": {}}, "args": {"nope": 1}}}, "batch.args"),
    ({"batch": {"query": {"filter": {}}, "args": {"item": {"item_id": "x"}}}}, "batch.args"),
])
def test_bad_batches(api, paused, change, field):
    """What each of its executions would be refused for, the batch is."""
    body = {**batch_of({"name": "no such"}), **change}
    error = api.bad(400, "POST", f"/executions/{paused['id']}", body)
    assert error["field"] == field, error


def test_batch_hands_over_item_and_args(api, project, paused, unique):
    """Of the datasets of its context only; without a type Item, the input that is called item."""
    sets = [api.post("/datasets", {"name": unique("batch"), "projectId": project.id})["id"] for _ in range(2)]
    name = unique("item")
    items = [harness.upload(api, one, f"/{name}.txt", b"x").json()["id"] for one in sets]
    for function, args in (("see", {"more": [1]}), ("take", {})):
        body = batch_of({"name": f"{name}.txt"}, **args)
        body["functionName"] = function
        body["batch"]["query"]["context"] = {"datasets": sets[:1], "projects": [project.id]}
        command = api.post(f"/executions/{paused['id']}", body)
        harness.wait_for("the batch is done", lambda: api.get(f"/commands/{command['id']}")["status"] == "success")
        page = api.get(f"/executions?serviceId={paused['id']}&functionName={function}")
        assert [one["input"] for one in page["items"]] == [
            {**args, "item": {"item_id": items[0], "dataset_id": sets[0]}}]


def test_no_batch_in_an_array(api, paused):
    made = api.post(f"/executions/{paused['id']}", [batch_of({}), {"functionName": "run", "input": {"value": 1}}])
    assert made[0]["error"]["field"] == "batch" and made[1]["id"]


# ── progress and logs ────────────────────────────────────────────────────────────────────────


def test_progress(api, service):
    identity = api.execute(service.id, "steps", {"count": 5})["id"]
    seen = set()

    def ended():
        execution = api.execution(identity)
        seen.add(execution["latestStatus"].get("percentComplete"))
        return execution["latestStatus"]["status"] in harness.FINAL and execution
    execution = harness.wait_for("it ends", ended, step=0.03)
    assert execution["output"] == 5
    assert seen & {20, 40, 60, 80}, seen
    log = execution["statusLog"]
    assert [one["status"] for one in log][0] == "created" and [one["status"] for one in log][-1] == "success"
    assert any("step" in str(one.get("message")) for one in log)


def test_large_progress(api, dl, plain):
    """What --max-output allows comes through, what it does not is told in the log; percents are 0 to 100."""
    made = plain("""
        class ServiceRunner:
            def run(self, progress, size):
                progress.update(progress=-5, message="m" * (3 << 20))
                progress.update(progress=150, output="x" * size)
                progress.update(progress=60, message="next")
    """, {"run": {"size": "Integer"}})
    service = dl.services.get(service_id=made["id"])
    execution = api.run(service.id, "run", {"size": 15 << 20})
    log = [one for one in execution["statusLog"] if one["status"] == "in-progress" and one.get("message")]
    assert len(log[0]["message"]) < 66000 and log[0]["message"].endswith("[cut: 65536 of 3145728 bytes]")
    assert 15 << 20 in [len(one.get("output") or "") for one in execution["statusLog"]]
    assert {one["percentComplete"] for one in execution["statusLog"]} <= {0, 60, 100}
    execution = api.run(service.id, "run", {"size": 17 << 20})
    assert execution["latestStatus"]["status"] == "success"
    warnings = [line["message"] for line in logged(api, service, execution["id"]) if line["level"].upper() == "WARNING"]
    assert len(warnings) == 1 and "--max-output" in warnings[0]


@pytest.mark.parametrize("report, field", [
    ({"message": 5}, "message"), ({"error": 5}, "error"), ({"error": []}, "error"), ({"error": True}, "error"),
    ({"status": 5}, "status"), ({"status": "lost"}, "status"), ({"percentComplete": "x"}, "percentComplete"),
    ({"percentComplete": 101}, "percentComplete")])
def test_bad_reports(api, paused, report, field):
    identity = api.execute(paused["id"], "run", {"value": 1})["id"]
    before = api.execution(identity)
    assert api.bad(400, "POST", f"/executions/{identity}/progress", {"percentComplete": 10, **report})["field"] == field
    assert api.execution(identity) == before


@pytest.mark.parametrize("error", ["a text", {"message": "an object"}])
def test_an_error_is_a_text_or_an_object(api, paused, error):
    identity = api.execute(paused["id"], "run", {"value": 1})["id"]
    ended = api.post(f"/executions/{identity}/progress", {"status": "failed", "message": None, "error": error})
    assert ended["latestStatus"]["status"] == "failed" and ended["latestStatus"]["error"] == error


def test_flags_are_true_or_false(api, paused):
    path, body = f"/executions/{paused['id']}", {"functionName": "run", "input": {"value": 1}}
    wait = "waitUntilExecutionIsFinished"
    before = api.get(f"/executions?serviceId={paused['id']}&pageSize=1")["totalItemsCount"]
    for wrong in ("banana", "2", "yes", "TRUE"):
        assert api.bad(400, "POST", f"{path}?{wait}={wrong}", body)["field"] == wait
    for wrong in ("true", 1, []):
        assert api.bad(400, "POST", path, {**body, wait: wrong})["field"] == wait
    assert api.get(f"/executions?serviceId={paused['id']}&pageSize=1")["totalItemsCount"] == before
    for right in ("false", "False", "0"):
        api.post(f"{path}?{wait}={right}", {**body, wait: None})
    for call in (("PATCH", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/resume")):
        assert api.bad(400, call[0], f"/services/{paused['id']}{call[1]}?force=x", {})["field"] == "force"
    assert api.get(f"/services/{paused['id']}")["active"] is False


@pytest.mark.core
def test_logs(dl, api, service, capsys):
    execution = service.execute(function_name="talk", execution_input={"lines": 3}, project_id=service.project_id).wait()
    lines = logged(api, service, execution.id)
    capsys.readouterr()
    execution.logs()
    printed = capsys.readouterr().out
    for text in ("printed 0 – ünïcode 你好", "printed 2", "logged as info", "logged as warning", "to standard error", DONE):
        assert text in printed, text
    assert all(line["executionId"] == execution.id and line["functionName"] == "talk" for line in lines)
    levels = {line["message"]: line["level"].upper() for line in lines}
    assert next(level for text, level in levels.items() if "logged as warning" in text) == "WARNING"
    assert [line["message"] for line in lines][-1] == DONE


def test_logs_of_a_failure_end_too(api, service):
    execution = api.run(service.id, "fail", {"text": "x"})
    messages = [line["message"] for line in logged(api, service, execution["id"])]
    assert messages[-1] == DONE and any("ValueError: x" in message for message in messages)


def test_many_log_lines(api, service):
    execution = api.run(service.id, "talk", {"lines": 2500}, 120)
    messages = [line["message"] for line in logged(api, service, execution["id"])]
    printed = [message for message in messages if message.startswith("printed")]
    assert printed == [f"printed {number} – ünïcode 你好" for number in range(2500)]


def test_log_filters(api, service):
    execution = api.run(service.id, "talk", {"lines": 2})
    logged(api, service, execution["id"])
    assert {line["message"] for line in lines_of(api, service, execution["id"], text="printed 1")} == \
        {"printed 1 – ünïcode 你好"}
    warnings = [line["message"] for line in lines_of(api, service, execution["id"], logLevel="WARNING")]
    assert "logged as warning" in " ".join(warnings) and "logged as info" not in " ".join(warnings)
    assert lines_of(api, service, execution["id"], end="2020-01-02T00:00:00") == []


@pytest.mark.parametrize("change, field", [
    ({"executionId": 5}, "executionId"), ({"executionId": {}}, "executionId"), ({"executionId": []}, "executionId"),
    ({"executionId": ""}, "executionId"), ({"executionId": [5]}, "executionId[0]"),
    ({"executionId": [""]}, "executionId[0]"), ({"serviceId": 5}, "serviceId"), ({"serviceId": ""}, "serviceId"),
    ({"projectId": 5}, "projectId"), ({"functionName": 5}, "functionName"), ({"functionName": ""}, "functionName"),
    ({"replicaId": 5}, "replicaId"), ({"text": 7}, "text"), ({"text": "q" * 1001}, "text"), ({"text": "é" * 1001}, "text"), ({"logLevel": 3}, "logLevel"),
    ({"logLevel": "LOUD"}, "logLevel"), ({"direction": 5}, "direction"), ({"direction": "up"}, "direction"),
    ({"follow": "yes"}, "follow"), ({"system": "x"}, "system"), ({"start": "soon"}, "start"), ({"size": 0}, "size"),
    ({"checkpoint": 5}, "checkpoint"),
])
def test_bad_log_queries(api, paused, change, field):
    error = api.bad(400, "POST", "/services/logs", {"serviceId": paused["id"], **change})
    assert error["field"] == field and "missing" not in error["message"], error


@pytest.mark.parametrize("character", ["q", "\x01", "\U0001f40e"])
def test_checkpoints_keep_the_longest_text(api, paused, character):
    """Else further pages, of which clients ask without the text, would be of other lines."""
    text = character * 1000
    page = api.post("/services/logs", {"serviceId": paused["id"], "text": text})
    kept = page["checkpoint"]
    assert json.loads(base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4)))["text"] == text
    assert api.post("/services/logs", {"serviceId": paused["id"], "checkpoint": kept})["checkpoint"] == kept


def test_log_queries_take_null_for_absent(api, paused):
    keys = ("projectId", "executionId", "functionName", "replicaId", "text", "logLevel", "direction", "follow", "system",
            "start", "end", "size", "checkpoint")
    assert api.post("/services/logs", {"serviceId": paused["id"], **dict.fromkeys(keys)})["stop"]
    assert api.post(f"/services/{paused['id']}/logs", {"serviceId": paused["id"]})["stop"]
    error = api.bad(400, "POST", f"/services/{'0' * 24}/logs", {"serviceId": paused["id"]})
    assert error["field"] == "serviceId"


def test_follow(api, service):
    """The lines come while it runs, and the stream ends by itself."""
    identity = api.execute(service.id, "steps", {"count": 5})["id"]
    start = time.monotonic()
    lines = lines_of(api, service, identity, follow=True)
    assert lines[-1]["message"] == DONE
    assert time.monotonic() - start < 30 * harness.SLOW


# ── stop ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.core
def test_terminate_a_running_one(dl, service, api):
    execution = service.execute(function_name="nap", execution_input={"seconds": 60}, project_id=service.project_id)
    harness.wait_for("it runs", lambda: api.status_of(execution.id) == "in-progress")
    assert execution.terminate().to_terminate
    assert api.finished(execution.id, 15)["latestStatus"]["status"] == "terminated"


STUBBORN = """
    import os, subprocess, time
    class ServiceRunner:
        def sleep(self, seconds):
            print("begun")
            time.sleep(seconds)
        def partial(self):
            os.write(1, b"no line end")
        def program(self):
            subprocess.run(["echo", "from a program"], check=True)
        def odd(self):
            raise ValueError("bad file name: " + os.fsdecode(b"caf\\xe9.txt"))
"""


@pytest.fixture
def stubborn(dl, plain):
    made = plain(STUBBORN, {"sleep": {"seconds": "Number"}, "partial": {}, "program": {}, "odd": {}},
                 executionTimeout=4, drainTime=1)
    return dl.services.get(service_id=made["id"])


def test_logs_of_an_end_from_outside(api, stubborn):
    """A function that does not end by itself is ended, and its log says why and that it is over."""
    late = api.run(stubborn.id, "sleep", {"seconds": 60})
    assert late["latestStatus"]["status"] == "failed"
    lines = logged(api, stubborn, late["id"])
    assert [line["message"] for line in lines] == [
        "begun", "timeout: the execution ran longer than 4 s (executionTimeout)", DONE]
    assert lines[1]["level"].upper() == "ERROR" and {line["functionName"] for line in lines} == {"sleep"}
    api.ready(stubborn.id)
    identity = api.execute(stubborn.id, "sleep", {"seconds": 60})["id"]
    harness.wait_for("it runs", lambda: api.status_of(identity) == "in-progress")
    api.post(f"/executions/{identity}/terminate")
    assert api.finished(identity, 15)["latestStatus"]["status"] == "terminated"
    assert [line["message"] for line in logged(api, stubborn, identity)] == [
        "begun", "terminated, but it did not end within 1 s (drainTime)", DONE]


def test_lines_of_programs(api, stubborn):
    """They are their execution's, whole or not, come before its last line, and are found by its function."""
    for function, text in (("partial", "no line end"), ("program", "from a program"), ("partial", "no line end")):
        execution = api.run(stubborn.id, function)
        assert [line["message"] for line in logged(api, stubborn, execution["id"])] == [text, DONE]
        found = lines_of(api, stubborn, functionName=function)
        assert text in [line["message"] for line in found if line["executionId"] == execution["id"]]


def test_an_error_that_is_no_unicode_fails_alone(api, stubborn):
    beside = api.execute(stubborn.id, "sleep", {"seconds": 2})["id"]
    odd = api.run(stubborn.id, "odd")["latestStatus"]
    assert odd["status"] == "failed" and "bad file name: caf?.txt" in odd["error"]["message"]
    assert api.finished(beside)["latestStatus"]["status"] == "success"


def test_terminate_a_queued_one(api, plain):
    service = plain("class ServiceRunner:\n    def run(self, value):\n        return value\n", {"run": {"value": "Json"}},
                    ready=False, active=False)
    identity = api.execute(service["id"], "run", {"value": 1})["id"]
    api.post(f"/executions/{identity}/terminate")
    assert api.finished(identity, 10)["latestStatus"]["status"] in ("terminated", "canceled")
    api.post(f"/services/{service['id']}/resume")
    api.ready(service["id"])
    assert api.run(service["id"], "run", {"value": 2})["output"] == 2
    assert "output" not in api.execution(identity) or api.execution(identity)["output"] is None


def test_terminate_an_ended_one(api, service):
    execution = api.run(service.id, "echo", {"value": 1})
    api.post(f"/executions/{execution['id']}/terminate")
    assert api.status_of(execution["id"]) == "success"


# ── repeat ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.core
def test_rerun(dl, api, service):
    execution = service.execute(function_name="fail", execution_input={"text": "again"}, project_id=service.project_id).wait()
    again = execution.rerun()
    ended = api.finished(again.id)
    assert ended["latestStatus"]["status"] == "failed"
    assert [one["status"] for one in ended["statusLog"]].count("failed") >= 2


def test_rerun_of_an_open_one(api, service):
    identity = api.execute(service.id, "nap", {"seconds": 30})["id"]
    api.bad(409, "POST", f"/executions/{identity}/rerun")
    api.post(f"/executions/{identity}/terminate")
    api.finished(identity)


def test_rerun_by_query(dl, api, service):
    ids = [api.execute(service.id, "fail", {"text": f"query {n}"})["id"] for n in range(5)]
    for one in ids:
        api.finished(one)
    filters = dl.Filters(resource=dl.FiltersResource.EXECUTION, field="id", values=ids, operator=dl.FiltersOperations.IN)
    command = service.executions.rerun_batch(filters=filters)
    assert command.status == "success"
    for one in ids:
        assert [entry["status"] for entry in api.finished(one)["statusLog"]].count("failed") >= 2


@pytest.mark.parametrize("what", ["rerun", "terminate"])
def test_a_query_over_others_executions_is_denied(dl, api, people, project, paused, unique, what):
    """Where the caller may change nothing it finds; what is not found at all is not denied."""
    identity = api.execute(paused["id"], "run", {"value": 1})["id"]
    other = api.post("/projects", {"name": unique("query")})
    viewer, query = people("viewer", project.id), {"query": {"id": identity}}
    error = viewer.bad(403, "POST", f"/executions/{what}", query)
    assert "developer" in error["message"]
    somebody = people(None, other["id"])
    somebody.bad(403, "POST", f"/executions/{what}", query)
    api.post(f"/projects/{other['id']}/members/{viewer.email}", {"role": "developer"})
    viewer.bad(403, "POST", f"/executions/{what}", query)
    viewer.post(f"/executions/{what}", {"query": {"id": "no such"}})
    api.post(f"/projects/{other['id']}/members/{somebody.email}", {"role": "developer"})
    somebody.post(f"/executions/{what}", query)
    assert not api.execution(identity)["toTerminate"]
    people("developer", project.id).post(f"/executions/{what}", query)
    api.delete(f"/projects/{other['id']}")


def test_increment_and_update(dl, api, service):
    execution = service.execute(function_name="nap", execution_input={"seconds": 30}, project_id=service.project_id)
    before = api.execution(execution.id)["attempts"]
    assert api.post(f"/executions/{execution.id}/attempts") == before + 1
    api.post(f"/executions/{execution.id}/terminate")
    api.finished(execution.id)


# ── find ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def found(api, project):
    """Ten ended executions of a service of their own, and their ids in order."""
    code = "class ServiceRunner:\n    def run(self, value):\n        assert value % 3, 'three'\n        return value\n" \
           "    def other(self, value):\n        return value\n"
    service = harness.deploy_plain(api, project.id, "finder", code, {"run": {"value": "Json"}, "other": {"value": "Json"}})
    api.ready(service["id"])
    ids = [api.run(service["id"], "run" if number < 7 else "other", {"value": number})["id"] for number in range(10)]
    yield service, ids
    api.delete(f"/services/{service['id']}?force=true")


def listed(dl, found, *terms, **more):
    service, ids = found
    filters = dl.Filters(resource=dl.FiltersResource.EXECUTION, **more)
    filters.add(field="serviceId", values=service["id"])
    for term in terms:
        filters.add(**term)
    filters.page_size = 4
    pages = dl.executions.list(filters=filters)
    result = [ids.index(one.id) for page in pages for one in page]
    assert pages.items_count == len(result)
    return sorted(result)


@pytest.mark.core
def test_operators(dl, found):
    o = dl.FiltersOperations
    ids = found[1]
    every = list(range(10))
    assert listed(dl, found) == every
    assert listed(dl, found, {"field": "latestStatus.status", "values": "failed"}) == [0, 3, 6]
    assert listed(dl, found, {"field": "latestStatus.status", "values": "failed", "operator": o.EQUAL}) == [0, 3, 6]
    assert listed(dl, found, {"field": "latestStatus.status", "values": "failed", "operator": o.NOT_EQUAL}) == \
        [1, 2, 4, 5, 7, 8, 9]
    assert listed(dl, found, {"field": "id", "values": ids[2:4], "operator": o.IN}) == [2, 3]
    assert listed(dl, found, {"field": "id", "values": ids[2:4], "operator": o.NIN}) == [0, 1] + every[4:]
    assert listed(dl, found, {"field": "functionName", "values": "other"}) == [7, 8, 9]
    assert listed(dl, found, {"field": "id", "values": ids[6], "operator": o.GREATER_THAN}) == [7, 8, 9]
    assert listed(dl, found, {"field": "id", "values": ids[6], "operator": o.GREATER_THAN_OR_EQUAL}) == [6, 7, 8, 9]
    assert listed(dl, found, {"field": "id", "values": ids[2], "operator": o.LESS_THAN}) == [0, 1]
    assert listed(dl, found, {"field": "id", "values": ids[2], "operator": o.LESS_THAN_OR_EQUAL}) == [0, 1, 2]
    assert listed(dl, found, {"field": "triggerId", "values": True, "operator": o.EXISTS}) == []
    assert listed(dl, found, {"field": "functionName", "values": "oth", "operator": o.MATCH}) == [7, 8, 9]
    assert listed(dl, found, {"field": "functionName", "values": "other", "method": dl.FiltersMethod.OR},
                  {"field": "latestStatus.status", "values": "failed", "method": dl.FiltersMethod.OR}) == [0, 3, 6, 7, 8, 9]
    assert listed(dl, found, {"field": "createdAt", "values": "2020-01-01T00:00:00.000Z", "operator": o.GREATER_THAN}) == every
    assert listed(dl, found, {"field": "createdAt", "values": "2020-01-01T00:00:00.000Z", "operator": o.LESS_THAN}) == []


def test_sorting(dl, found):
    service, ids = found
    for direction, wanted in (("descending", ids[::-1]), ("ascending", ids)):
        filters = dl.Filters(resource=dl.FiltersResource.EXECUTION, field="serviceId", values=service["id"])
        filters.sort_by(field="createdAt", value=direction)
        assert [one.id for page in dl.executions.list(filters=filters) for one in page] == wanted


@pytest.mark.parametrize("sort", [None, {"createdAt": "descending"}, {"functionName": "ascending", "createdAt": "ascending"}])
def test_deep_pages_are_the_list(api, many_waiting, sort):
    """Pages far behind, which are read from the end of the list, continue those before them."""
    def page(number, size):
        body = {"resource": "executions", "filter": {"serviceId": many_waiting}, "page": number, "pageSize": size}
        found = api.post("/query/faas", {**body, **({"sort": sort} if sort else {})})
        assert found["totalItemsCount"] == 10530
        return [one["id"] for one in found["items"]], found["hasNextPage"]

    whole = [identity for number in range(11) for identity in page(number, 1000)[0]]
    assert len(whole) == len(set(whole)) == 10530
    for number, size in ((40, 250), (41, 250), (42, 250), (101, 100), (105, 100), (1052, 10), (10529, 1), (10000, 1)):
        items, more = page(number, size)
        assert items == whole[number * size:(number + 1) * size] and more == ((number + 1) * size < 10530)
    assert page(43, 250) == ([], False)


@pytest.fixture(scope="module")
def many_waiting(api, project):
    """A paused service with 10,530 executions, of two functions."""
    service = harness.deploy_plain(api, project.id, "deep-pages",
                                   "class ServiceRunner:\n    def run(self): pass\n    def other(self): pass\n",
                                   {"run": {}, "other": {}}, active=False)
    for count in [1000] * 10 + [530]:
        api.post(f"/executions/{service['id']}", [{"functionName": "other" if n % 3 else "run"} for n in range(count)])
    yield service["id"]
    api.call("DELETE", f"/services/{service['id']}?force=true")


@pytest.mark.parametrize("filter", [{"$and": 5}, {"serviceId": {"$bogus": 1}}, {"id": {"$in": "x"}}, {"nonsense": 1},
                                    {"id": {"$gt": {}}}])
def test_bad_filters(api, filter):
    api.bad(400, "POST", "/query/faas", {"filter": filter, "page": 0, "pageSize": 10, "resource": "executions"})


def test_counters(api, found):
    counters = api.get(f"/executions/counters?serviceId={found[0]['id']}")
    assert "3" in json.dumps(counters) and "7" in json.dumps(counters), counters


def test_list_by_query_parameters(api, found):
    service, ids = found
    page = api.get(f"/executions?serviceId={service['id']}&status=failed&pageSize=2")
    assert page["totalItemsCount"] == 3 and len(page["items"]) == 2 and page["hasNextPage"]
