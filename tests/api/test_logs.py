# SPDX-License-Identifier: Apache-2.0
"""Following the log of an execution: it ends with the execution's last line, no sooner and no later."""
import os
import signal
import threading

import harness

DONE = "[Done] Executing function."
CODE = """
    import os, time
    class ServiceRunner:
        def chatter(self, count):
            for number in range(count):
                if number == count // 2:
                    print("[Done] Executing function.")
                print("line", number)
        def twice(self, marker):
            print("attempt begins")
            if not os.path.exists(marker):
                open(marker, "w").close()
                time.sleep(0.5)
                os._exit(3)
            for number in range(2000):
                print("second", number)
        def slow(self):
            print("slow begins")
            time.sleep(60)
"""
FUNCTIONS = {"chatter": {"count": "Integer"}, "twice": {"marker": "String"}, "slow": {}}


def follow(api, execution, **more):
    """All pages as dtlpy asks for them; the lines, and the page that said stop."""
    body = {"direction": "asc", "follow": True, "system": False, "logLevel": "DEBUG", "executionId": [execution],
            "start": "2020-01-01T00:00:00", **more}
    lines = []
    while True:
        page = api.post("/services/logs", body)
        if page["stop"]:
            assert not page["logs"], "nobody looks at the lines of such a page"
            return lines, page
        assert not page["ended"] and not page["complete"]
        lines += [line["message"] for line in page["logs"]]
        body["checkpoint"] = page["checkpoint"]


def test_follow_ends_with_the_last_line(api, plain):
    service = plain(CODE, FUNCTIONS)
    for _ in range(3):
        execution = api.execute(service["id"], "chatter", {"count": 10_000})["id"]
        lines, page = follow(api, execution)
        assert page["ended"] and page["complete"]
        assert lines[-1] == DONE and lines.count(DONE) == 2
        assert [line for line in lines if line != DONE] == [f"line {number}" for number in range(10_000)]


def test_many_followers_of_short_executions(api, plain):
    service = plain(CODE, FUNCTIONS)
    seen = {}

    def watch(execution):
        seen[execution] = follow(api, execution)

    executions = [api.execute(service["id"], "chatter", {"count": 20})["id"] for _ in range(12)]
    watchers = [threading.Thread(target=watch, args=(one,)) for one in executions]
    for one in watchers:
        one.start()
    for one in watchers:
        one.join()
    for lines, page in seen.values():
        assert page["ended"] and page["complete"] and len(lines) == 22 and lines[-1] == DONE
    assert len(seen) == 12


def test_follow_of_several_ends_with_the_last_of_them(api, plain):
    service = plain(CODE, FUNCTIONS)
    executions = [api.execute(service["id"], "chatter", {"count": count})["id"] for count in (2000, 20, 200)]
    lines, page = follow(api, executions[0], executionId=executions)
    assert page["ended"] and page["complete"] and len(lines) == 2220 + 6


def test_follow_goes_on_over_attempts(api, plain, tmp_path):
    service = plain(CODE, FUNCTIONS, onReset="rerun", maxAttempts=3)
    execution = api.execute(service["id"], "twice", {"marker": str(tmp_path / "marker")})["id"]
    lines, page = follow(api, execution)
    assert page["ended"] and page["complete"]
    assert lines[-1] == DONE and lines.count("attempt begins") == 2
    assert [line for line in lines if line.startswith("second")] == [f"second {number}" for number in range(2000)]


def test_follow_ends_when_the_agent_is_killed(own_server):
    server, api = own_server()
    project = api.post("/projects", {"name": "killed"})["id"]
    service = harness.deploy_plain(api, project, "killed", CODE, FUNCTIONS, onReset="failed")["id"]
    api.ready(service)
    execution = api.execute(service, "slow")["id"]
    harness.wait_for("it runs", lambda: api.post(
        "/services/logs", {"executionId": [execution]})["logs"])
    killed = [pid for pid, name in agents(server)]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert killed
    lines, page = follow(api, execution)
    assert api.status_of(execution) == "failed"
    assert page["ended"] and lines[0] == "slow begins" and lines[-1] == DONE
    assert "its agent was ended by signal 9" in lines[-2]


def agents(server):
    """Agents of this server, by their arguments; without their supervisors."""
    found = []
    for folder in os.listdir("/proc"):
        try:
            with open(f"/proc/{folder}/cmdline", encoding="utf-8") as file:
                words = file.read().split("\0")
        except (OSError, ValueError):
            continue
        if words[0].endswith("drover-agent") and "--supervise" not in words and str(server.data) in " ".join(words):
            found.append((int(folder), words[0]))
    return found


def test_dtlpy_follows_to_the_end(dl, api, plain, capsys):
    service = plain(CODE, FUNCTIONS)
    execution = dl.executions.get(execution_id=api.execute(service["id"], "chatter", {"count": 500})["id"])
    log = dl.services.get(service_id=service["id"]).log(execution_id=execution.id, start=execution.created_at,
                                                        follow=True, view=False)
    lines = [line.partition(": ")[2] for line in log]
    assert lines[-1] == DONE and len(lines) == 502
    capsys.readouterr()
    execution.logs(follow=True)  # prints up to the first such line
    assert "line 249" in capsys.readouterr().out


def test_the_log_of_a_silent_execution(api, plain, dl, capsys):
    """Nothing is stored of it, and whoever reads it is given the one line that every log ends with."""
    service = plain(CODE, FUNCTIONS)
    silent = api.run(service["id"], "chatter", {"count": 0})
    for _ in range(2):
        lines, page = follow(api, silent["id"])
        assert lines == [DONE] and page["ended"] and page["complete"]
        assert follow(api, silent["id"], follow=False)[0] == [DONE]
    paused = api.execute(service["id"], "slow", {})
    body = {"direction": "asc", "follow": False, "executionId": [paused["id"]], "start": "2020-01-01T00:00:00"}
    assert DONE not in [line["message"] for line in api.post("/services/logs", body)["logs"]], "it still runs"
    body = {"direction": "asc", "follow": False, "start": "2020-01-01T00:00:00"}
    stored = api.post(f"/services/{service['id']}/logs", body)["logs"]
    assert silent["id"] not in [line["executionId"] for line in stored]
    capsys.readouterr()
    dl.executions.get(execution_id=silent["id"]).logs()
    assert DONE in capsys.readouterr().out


def test_a_second_run_without_lines_ends_too(api, plain):
    service = plain(CODE, FUNCTIONS)
    execution = api.run(service["id"], "chatter", {"count": 0})
    for _ in range(2):
        api.post(f"/executions/{execution['id']}/rerun?waitUntilExecutionIsFinished=true", {})
        assert follow(api, execution["id"])[0][-1] == DONE
