# SPDX-License-Identifier: Apache-2.0
"""exec, executions, logs, cancel, rerun."""
import json
import re

import pytest

import harness
from conftest import CODE, Cli

FUTURE = "2999-01-01T00:00:00Z"


def test_exec_prints_an_id_and_the_result_is_there_later(cli, api, service):
    identity = cli.good("exec", service, "run", "--input", '{"name": "Ada"}').out.strip()
    assert api.finished(identity)["output"] == {"text": "Hello, Ada!"}


@pytest.mark.parametrize("value", [0.1, 2**70, "ü\n\"", None, [1, {"a": []}], True])
def test_wait_gives_the_output_on_stdout_and_the_log_on_stderr(cli, service, value):
    run = cli.good("exec", service, "echo", "--input", json.dumps({"value": value}), "--wait")
    assert run.json == value
    assert "[Done]" in run.err


def test_inputs_come_from_a_file_from_stdin_and_by_name(cli, service):
    (cli.folder / "in.json").write_text('{"name": "file"}')
    assert cli.good("exec", service, "run", "-i", "@in.json", "--wait").json == {"text": "Hello, file!"}
    assert cli.good("exec", service, "run", "-i", "-", "--wait", given='{"name": "pipe"}').json == {"text": "Hello, pipe!"}
    assert cli.good("exec", service, "echo", 'value={"a":1}', "--wait").json == {"a": 1}
    assert cli.good("exec", service, "echo", "value=plain text", "--wait").json == "plain text"


def test_an_execution_that_fails_is_exit_code_6(cli, service):
    run = cli("exec", service, "fail", "text=it broke", "--wait")
    assert run.code == 6 and run.out == ""
    assert "The execution ended as failed: ValueError: it broke" in run.err, run.err
    assert run.err.count("failed") == 1, run.err
    assert cli("exec", service, "fail", "text=x", "--wait", "-o", "json").json["latestStatus"]["status"] == "failed"
    quiet = cli("exec", service, "fail", "text=quietly", "--wait", "-q")
    assert quiet.code == 6 and "Traceback" in quiet.err and "[Done]" not in quiet.err


@pytest.mark.parametrize("arguments, words", [
    (["--input", "{"], "--input is no JSON"),
    (["--input", "[1]"], "an array; an input is an object"),
    (["--input", "@missing.json"], "missing.json"),
    (["nonsense"], "write NAME=VALUE"),
    (["=1"], "write NAME=VALUE"),
])
def test_inputs_that_are_wrong(cli, service, arguments, words):
    assert words in cli.bad(2, "exec", service, "run", *arguments)


@pytest.mark.parametrize("function, arguments, words", [
    ("count", ["to=abc"], 'The input to is of type Integer, not the string "abc"'),
    ("count", ["to=1.5"], "The input to is of type Integer, not the number 1.5"),
    ("count", ["--input", '{"to": [1]}'], "The input to is of type Integer, not an array"),
    ("burst", ["lines=1", "then=true"], "The input then is of type Number, not a boolean"),
])
def test_inputs_that_cannot_be_of_their_type(cli, service, function, arguments, words):
    said = cli.bad(2, "exec", service, function, *arguments)
    assert words in said and "drover describe" in said


def test_inputs_that_can_be_of_their_type(cli, service):
    for value in (0, "0.0", "-99999999999999999999999"):
        cli.good("exec", service, "count", f"to={value}")
    assert "TypeError" in cli("exec", service, "count", "to=null", "--wait").err


def test_a_function_that_is_not_there_names_those_that_are(cli, service):
    said = cli.bad(2, "exec", service, "rum")
    assert "no function rum" in said and "run" in said and f"drover describe {service}" in said


def test_ctrl_c_leaves_the_execution_running_and_says_how_to_go_on(cli, api, service, interrupt):
    process = cli.start("exec", service, "count", "to=60", "--wait")
    identity = harness.wait_for("it runs", lambda: next(iter(cli.good(
        "executions", "-f", "count", "--status", "in-progress", "-o", "name").lines), None))
    code, out, err = interrupt(process)
    assert (code, out) == (130, "")
    assert f"drover logs {identity} -f" in err and f"drover cancel {identity}" in err
    assert api.finished(identity)["latestStatus"]["status"] == "success"


def test_the_list_has_no_end_and_every_filter(cli, api, service, unique):
    folder = cli.folder / "many"
    folder.mkdir()
    (folder / "main.py").write_text("class ServiceRunner:\n    def run(self):\n        pass\n")
    name = unique("many")
    cli.good("deploy", "many", "--name", name, "--package", name, "--replicas", 0)
    identity = cli.good("describe", name, "-o", "json").json["service"]["id"]
    for _ in range(2):  # more than a page holds
        api.post(f"/executions/{identity}", [{"functionName": "run"}] * 620)
    assert len(set(cli.good("executions", "-s", name, "-o", "name").lines)) == 1240
    assert len(cli.good("executions", "-s", name, "-o", "name", "--limit", 1101).lines) == 1101
    assert len(cli.good("executions", "-s", name, "-o", "json").json) == 1240
    assert all(json.loads(line)["serviceName"] == name for line in cli.good("executions", "-s", name, "-o", "jsonl").lines)
    assert len(cli.good("executions", "-s", name).lines) == 1241
    for filters, count in ((["--status", "open"], 1240), (["--status", "success,failed"], 0), (["--since", "1h"], 1240),
                           (["--until", "1h"], 0), (["--since", FUTURE], 0), (["-f", "run"], 1240), (["-f", "no"], 0)):
        assert len(cli.good("executions", "-s", name, "-o", "name", *filters).lines) == count, filters
    newest, oldest = (cli.good("executions", "-s", name, "-n", 1, "-o", "name", *more).out for more in ([], ["--oldest-first"]))
    assert newest > oldest
    assert "nothing was done" in cli.good("rerun", "-s", name, "--status", "failed", "-y").err
    assert "Asked to cancel 1240 executions" in cli.good("cancel", "-s", name, "-y").err
    assert cli.good("executions", "-s", name, "--status", "open", "-o", "name").out == ""
    assert "Queued again 1240 executions" in cli.good("rerun", "-s", name, "-y").err
    assert len(cli.good("executions", "-s", name, "--status", "rerun", "-o", "name").lines) == 1240
    cli.good("delete", name, "-y")


def test_a_server_may_allow_smaller_pages(tmp_path):
    server = harness.Server(tmp_path / "server", max_page_size="100").start()
    try:
        cli = Cli(tmp_path / "user", server.url, (server.data / "admin-key").read_text().strip())
        (cli.folder / "many").mkdir()
        (cli.folder / "many" / "main.py").write_text("class ServiceRunner:\n    def run(self):\n        pass\n")
        identity = cli.good("deploy", "many", "--replicas", 0, "-o", "json").json["id"]
        api = harness.Api(server, cli.environment["DROVER_API_KEY"])
        api.post(f"/executions/{identity}", [{"functionName": "run"}] * 250)
        for scope in ([], ["-s", "many"], ["--oldest-first"], ["-s", "many", "--oldest-first"]):
            listed = cli.good("executions", "-o", "name", *scope).lines
            assert len(set(listed)) == len(listed) == 250, scope
            assert listed == sorted(listed, reverse="--oldest-first" not in scope), scope
    finally:
        assert not server.close()


def test_a_limit_of_none_gives_none(cli, service):
    cli.good("exec", service, "run", "--wait")
    for verb in ("executions", "events", "services", "packages"):
        run = cli.good(verb, "--limit", 0)
        assert (run.out, run.err) == ("", "")
        assert cli.good(verb, "--limit", 0, "-o", "json").json == []
        assert len(cli.good(verb, "--limit", 1, "-o", "json").json) == 1
        assert cli.good(verb, "--limit", -1, "-o", "json").json


def test_an_empty_list_says_so_on_stderr_only(cli, service):
    run = cli.good("executions", "--since", FUTURE)
    assert run.out == "" and "no such executions" in run.err
    assert cli.good("executions", "--since", FUTURE, "-o", "json").json == []


@pytest.mark.parametrize("arguments, words", [
    (["--status", "failedd"], "did you mean 'failed'"),
    (["--since", "yesterday"], "'yesterday' is neither"),
    (["--limit", "-3"], "--limit"),
    (["--statsu", "failed"], "did you mean --status"),
    (["--service"], "--service needs a value"),
    (["extra"], "one argument too many"),
])
def test_wrong_filters(cli, service, arguments, words):
    assert words in cli.bad(2, "executions", *arguments)


def test_cancel_and_rerun_by_id(cli, api, service):
    cli.good("pause", service)
    identity = cli.good("exec", service, "run").out.strip()
    assert f"Asked to cancel {identity}" in cli.good("cancel", identity).err
    assert cli.good("rerun", identity, "-o", "name").out.strip() == identity
    assert "once it has ended" in cli.bad(1, "rerun", identity)
    cli.good("resume", service)
    assert api.finished(identity)["latestStatus"]["status"] == "success"
    assert f"{identity} had ended; nothing was done" in cli.good("cancel", identity).err
    run = cli("cancel", identity, "0" * 24)
    assert run.code in (1, 3) and "0" * 24 in run.err
    assert cli.bad(2, "cancel")
    assert "not both" in cli.bad(2, "rerun", identity, "--status", "failed")
    assert "ended executions alone" in cli.bad(2, "rerun", "--status", "in-progress", "-y")


def test_a_selection_gives_programs_its_command(cli, api, service):
    cli.good("exec", service, "echo", "value=1", "--wait")
    chosen = "-s", service, "--function", "echo", "--status", "success", "-y"
    command = cli.good("rerun", *chosen, "-o", "json").json
    assert command["status"] == "success" and command["spec"]["done"] >= 1
    harness.wait_for("they ran again", lambda: not cli.good("executions", "-s", service, "--status", "open").out)
    identity = cli.good("rerun", *chosen, "-o", "name").out.strip()
    assert api.get(f"/commands/{identity}")["status"] == "success"
    assert cli.good("rerun", "--since", FUTURE, "-y", "-o", "json").json is None
    assert cli.good("cancel", "-s", service, "--since", FUTURE, "-o", "name").out == ""


def test_cancel_says_when_it_ends_at_the_latest(cli, api, service):
    identity = cli.good("exec", service, "count", "to=60").out.strip()
    harness.wait_for("it runs", lambda: api.execution(identity)["latestStatus"]["status"] == "in-progress")
    head, row = cli.good("executions", "--status", "in-progress", "-n", 1).lines
    end = head.index("ATTEMPTS") + len("ATTEMPTS")
    assert row[:end].split()[-1] == "1", row
    said = cli.good("cancel", identity).err
    assert re.search(identity + r"; if it does not end by itself, it is ended by force by \d{4}-", said), said
    assert api.finished(identity)


def test_many_need_a_yes(cli, service):
    cli.good("exec", service, "run", "--wait")
    assert "--yes" in cli.bad(2, "rerun", "-s", service, "--status", "success")
    asked = cli.terminal("rerun", "-s", service, "--status", "success").wait_for(r"Run again \d+ execution")
    run = asked.type("n\n").finish()
    assert run.code == 1 and "Nothing was done" in run.plain
    asked = cli.terminal("rerun", "-s", service, "--status", "success").wait_for(r"\[y/N\]")
    assert asked.type("y\n").finish().code == 0


def test_logs_of_an_execution_end_with_it(cli, service):
    identity = cli.good("exec", service, "count", "to=10").out.strip()
    followed = cli.good("logs", identity, "-f")
    assert [line.rpartition("counted ")[2] for line in followed.lines if "counted" in line] == [str(n) for n in range(1, 11)]
    assert followed.lines[-1].endswith("[Done] Executing function.")
    assert cli.good("logs", identity).out == followed.out
    assert [json.loads(line)["message"] for line in cli.good("logs", identity, "-o", "jsonl", "--text", "counted 7").lines] == ["counted 7"]
    assert len(cli.good("logs", identity, "-o", "json", "--tail", 4).json) == 4
    assert cli.good("logs", identity, "--tail", 3).lines == followed.lines[-3:]
    assert cli.good("logs", identity, "--level", "ERROR").out == ""
    assert cli.good("logs", identity, "--until", "1h").out == ""


def test_the_log_of_an_execution_is_followed_to_its_end_when_its_service_is_deleted(cli, api, unique):
    name = unique("leaving")
    (cli.folder / "leaving").mkdir()
    (cli.folder / "leaving" / "main.py").write_text(CODE)
    cli.good("deploy", "leaving", "--package", name, "--name", name)
    identity = cli.good("exec", name, "count", "to=80").out.strip()
    following = cli.start("logs", identity, "-f")
    first = following.stdout.readline()
    assert "what runs may finish" in cli.good("delete", name, "--yes").err
    *counted, last = [first, *following.stdout]
    assert following.wait(30) == 0, following.stderr.read()
    assert [line.rpartition("counted ")[2] for line in counted] == [f"{n}\n" for n in range(1, 81)]
    assert last.endswith("[Done] Executing function.\n") and api.finished(identity)["latestStatus"]["status"] == "success"


def test_the_tail_of_lines_of_one_moment_is_followed_in_order(cli, service):
    identity = cli.good("exec", service, "burst", "lines=50", "then=3").out.strip()
    harness.wait_for("its lines are there", lambda: len(cli.good("logs", identity).lines) == 50)
    running = cli.good("logs", identity, "-n", 3, "-f").lines
    every = cli.good("logs", identity).lines
    assert len(every) == 52 and every[-1].endswith("[Done] Executing function.")
    assert running == every[47:]
    for tail in (0, 1, 3, 40, 60):
        assert cli.good("logs", identity, "-n", tail, "-f").lines == every[52 - min(tail, 52):]
    silent = cli.good("exec", service, "echo", "value=1", "--wait", "-o", "json").json["id"]
    done = cli.good("logs", silent).lines
    assert len(done) == 1 and "[Done]" in done[0]
    assert cli.good("logs", silent, "-n", 3).lines == done
    assert cli.good("logs", silent, "-n", 1, "-f").lines == done
    assert cli.good("logs", silent, "-n", 0, "-f").lines == []


def test_logs_of_a_service_go_on_until_ctrl_c(cli, service, interrupt):
    before = cli.good("exec", service, "run", "name=before", "--wait")
    assert before.code == 0
    process = cli.start("logs", service, "-f", "--tail", "2", "--function", "run")
    seen = [process.stdout.readline(), process.stdout.readline()]
    assert "greeting before" in seen[0]
    identity = cli.good("exec", service, "run", "name=after").out.strip()
    line = process.stdout.readline()
    assert "greeting after" in line and identity in line
    code, out, err = interrupt(process)
    assert code == 130 and "greeting before" not in out


def test_lines_have_no_names_and_a_followed_array_no_end(cli, service):
    assert "no names" in cli.bad(2, "logs", service, "-o", "name")
    assert "jsonl" in cli.bad(2, "logs", service, "-f", "-o", "json")
    assert "no execution and no service" in cli.bad(3, "logs", "0" * 24)


def test_following_lives_through_a_restart_of_the_server(tmp_path, unique):
    server = harness.Server(tmp_path / "server").start()
    try:
        cli = Cli(tmp_path / "user", server.url, (server.data / "admin-key").read_text().strip())
        (cli.folder / "hello").mkdir()
        (cli.folder / "hello" / "main.py").write_text(CODE)
        cli.good("deploy", "hello")
        process = cli.start("exec", "hello", "count", "to=100", "--wait")
        assert "counted" in process.stderr.readline()
        events = cli.start("events", "hello", "-f")
        assert events.stdout.readline()
        server.kill()
        server.start()
        out, err = process.communicate(timeout=60 * harness.SLOW)
        assert (process.returncode, out) == (0, "100\n"), err
        numbers = [int(n) for n in re.findall(r"counted (\d+)", err)]
        assert numbers == sorted(set(numbers)) and numbers[-1] == 100
        cli.good("pause", "hello")
        assert any("Paused" in line for line in events.stdout), events.stderr.read()
        events.terminate()
        events.communicate()
    finally:
        assert not server.close()


def test_many_are_done_over_a_restart_of_the_server(tmp_path):
    server = harness.Server(tmp_path / "server").start()
    try:
        cli = Cli(tmp_path / "user", server.url, (server.data / "admin-key").read_text().strip())
        (cli.folder / "hello").mkdir()
        (cli.folder / "hello" / "main.py").write_text(CODE)
        cli.good("deploy", "hello")
        cli.good("pause", "hello")
        api = harness.Api(server, (server.data / "admin-key").read_text().strip())
        service = cli.good("services", "-o", "json").json[0]["id"]
        for _ in range(20):
            api.post(f"/executions/{service}", [{"functionName": "run", "input": {}}] * 1000)
        cancel = cli.start("cancel", "--service", "hello", "--yes")
        harness.wait_for("it has begun", lambda: cli.good("executions", "--status", "ended", "-n", 1, "-o", "name").out)
        server.kill()
        server.start()
        _, said = cancel.communicate(timeout=120 * harness.SLOW)
        assert cancel.returncode == 0 and "Asked to cancel 20000 executions" in said, said
        (cli.folder / "hello" / "main.py").write_text(CODE.replace("import time", "import time\ntime.sleep(8)", 1))
        cli.good("resume", "hello")
        deploy = cli.start("deploy", "hello")
        harness.wait_for("it is stored", lambda: cli.good("services", "-o", "json").json[0]["version"] != "1.0.0")
        server.kill()
        server.start()
        _, said = deploy.communicate(timeout=120 * harness.SLOW)
        assert deploy.returncode == 0 and "Ready: 1 of 1" in said, said
        harness.wait_for("all are over", lambda: not cli.good("executions", "--status", "open", "-n", 1, "-o", "name").out)
        assert cli.good("executions", "--status", "success", "-n", 1, "-o", "name").out == ""
    finally:
        assert not server.close()
