# SPDX-License-Identifier: Apache-2.0
"""runExecutionAsProcess: a process for each execution; and never more executions than concurrency, in
processes and in threads."""
import os
import signal
import time

import pytest

import harness

pytestmark = pytest.mark.timeout(600)
CODE = """
    import os, signal, subprocess, sys, time
    class ServiceRunner:
        def __init__(self):
            self.loaded = os.getpid()
            self.runs = 0
        def pids(self):
            self.runs += 1
            return [self.loaded, os.getpid(), self.runs]
        def say(self):
            print("printed")
            os.write(1, b"below\\n")
            os.write(2, b"without an end")
        def eat(self, mib):
            data = bytearray(mib << 20)
            end = time.process_time() + 0.2
            while time.process_time() < end:
                pass
            return len(data)
        def leave(self, code):
            os._exit(code)
        def crash(self):
            os.kill(os.getpid(), signal.SIGSEGV)
        def nap(self, seconds, mark):
            with open(mark, "a") as file:
                file.write("started\\n")
            time.sleep(seconds)
            with open(mark, "a") as file:
                file.write("ended\\n")
            return "rested"
        def polite(self, mark, progress):
            progress.update(progress=10, message="on my way")
            with open(mark, "a") as file:
                file.write("started\\n")
            while True:
                progress.kill_event()
                time.sleep(0.01)
        def daemon(self, note):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    with open(note, "w") as file:
                        file.write(str(os.getpid()))
                    time.sleep(3600)
                os._exit(0)
            while not os.path.exists(note) or not open(note).read():
                time.sleep(0.01)
            return "started"
"""
FUNCTIONS = {name: {} for name in ("pids", "say", "crash")}
FUNCTIONS |= {"eat": {"mib": "Integer"}, "leave": {"code": "Integer"}, "daemon": {"note": "String"},
              "nap": {"seconds": "Number", "mark": "String"}, "polite": {"mark": "String"}}


@pytest.fixture
def processes(plain):
    def deploy(text=CODE, functions=None, **settings):
        return plain(text, functions or FUNCTIONS, runExecutionAsProcess=True, **settings)["id"]
    return deploy


def lines(api, execution):
    page = api.post("/services/logs", {"executionId": [execution], "size": 1000})
    return [line["message"] for line in page["logs"]]


def running(mark):
    return mark.exists() and "started" in mark.read_text()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.core
def test_a_process_for_each(api, processes):
    service = processes()
    found = [api.run(service, "pids")["output"] for _ in range(5)]
    assert len({loaded for loaded, _, _ in found}) == 1, "the module was loaded once"
    assert len({pid for _, pid, _ in found}) == 5 and all(runs == 1 for _, _, runs in found)


def test_lines_come_under_their_execution(api, processes):
    service = processes()
    execution = api.run(service, "say")["id"]
    expected = {"printed", "below", "without an end", "[Done] Executing function."}
    harness.wait_for("its lines are there", lambda: set(lines(api, execution)) == expected, 20)
    assert lines(api, execution)[-1] == "[Done] Executing function."


def test_what_it_used_is_told(api, processes):
    service = processes()
    used = api.run(service, "eat", {"mib": 100})["usage"]
    assert used["peakMemoryKib"] > 100 << 10 and 150 <= used["cpuMs"] < 60000


@pytest.mark.core
@pytest.mark.parametrize("function, inputs, says, used", [
    ("leave", {"code": 0}, "exit code 0", {"exitCode": 0}), ("leave", {"code": 3}, "exit code 3", {"exitCode": 3}),
    ("crash", {}, "signal 11 (Segmentation fault)", {"signal": 11})])
def test_an_end_without_a_result(api, processes, tmp_path, function, inputs, says, used):
    service = processes(onReset="rerun")
    loaded = api.run(service, "pids")["output"][0]
    beside = api.execute(service, "nap", {"seconds": 2, "mark": str(tmp_path / "mark")})["id"]
    harness.wait_for("its neighbour runs", lambda: running(tmp_path / "mark"))
    execution = api.run(service, function, inputs)
    told = execution["latestStatus"]
    assert told["status"] == "failed" and told["error"]["message"] == f"the execution's process ended: {says}", told
    assert used.items() <= execution["usage"].items() and execution["attempts"] == 1
    last = [f"the execution's process ended: {says}", "[Done] Executing function."]
    harness.wait_for("its last lines say so", lambda: lines(api, execution["id"])[-2:] == last, 20)
    assert api.finished(beside)["output"] == "rested", "its neighbour notices nothing"
    assert api.run(service, "pids")["output"][0] == loaded, "nor does the warm image"


def test_a_timeout_ends_one_process(api, processes, tmp_path):
    service = processes(executionTimeout=8)  # which bounds the loading too
    loaded = api.run(service, "pids")["output"][0]
    late = api.execute(service, "nap", {"seconds": 60, "mark": str(tmp_path / "late")})["id"]
    harness.wait_for("it runs", lambda: running(tmp_path / "late"))
    time.sleep(4)
    beside = api.execute(service, "nap", {"seconds": 5, "mark": str(tmp_path / "mark")})["id"]
    ended = api.finished(late)
    told = ended["latestStatus"]
    assert ended["usage"]["signal"] == 9 and ended["usage"]["peakMemoryKib"] > 0
    assert told["status"] == "failed" and "timeout: the execution ran longer than 8 s" in told["error"]["message"]
    assert told["error"]["type"] == "TimeoutError"
    assert api.finished(beside)["output"] == "rested"
    assert (tmp_path / "late").read_text() == "started\n"
    assert api.run(service, "pids")["output"][0] == loaded


def test_terminate(api, processes, tmp_path):
    service = processes(drainTime=1)
    loaded = api.run(service, "pids")["output"][0]
    polite = api.execute(service, "polite", {"mark": str(tmp_path / "polite")})["id"]
    deaf = api.execute(service, "nap", {"seconds": 60, "mark": str(tmp_path / "deaf")})["id"]
    harness.wait_for("both run", lambda: running(tmp_path / "polite") and running(tmp_path / "deaf"))
    harness.wait_for("progress is told", lambda: api.execution(polite)["latestStatus"]["percentComplete"] == 10)
    for one in (polite, deaf):
        api.post(f"/executions/{one}/terminate")
    assert api.finished(polite)["latestStatus"]["status"] == "terminated"
    told = api.finished(deaf)["latestStatus"]
    assert told["status"] == "terminated" and "did not end within 1 s (drainTime)" in told["message"]
    assert api.run(service, "pids")["output"][0] == loaded


def test_nothing_of_an_execution_stays(api, processes, tmp_path):
    service = processes()
    note = tmp_path / "pid"
    assert api.run(service, "daemon", {"note": str(note)})["output"] == "started"
    harness.wait_for("its daemon is ended", lambda: not alive(int(note.read_text())), 20)
    assert api.run(service, "pids")["latestStatus"]["status"] == "success"


def test_the_warm_image_dies(api, processes, tmp_path):
    """What runs is not touched, and others come from a new one."""
    service = processes(onReset="failed")
    mark = tmp_path / "mark"
    loaded = api.run(service, "pids")["output"][0]
    beside = api.execute(service, "nap", {"seconds": 3, "mark": str(mark)})["id"]
    crash = api.execute(service, "nap", {"seconds": 1, "mark": str(tmp_path / "second")})["id"]
    harness.wait_for("both run", lambda: running(mark) and running(tmp_path / "second"))
    os.kill(loaded, signal.SIGKILL)
    assert api.finished(crash)["output"] == "rested" and api.finished(beside)["output"] == "rested"
    again = api.run(service, "pids")["output"][0]
    assert again != loaded and alive(again)


THREADED = """
    import os, threading, time
    loaded = os.getpid()
    beats = []
    def beat():
        while True:
            beats.append(1)
            time.sleep(0.01)
    threading.Thread(target=beat, daemon=True).start()
    class ServiceRunner:
        def run(self):
            before = len(beats)
            time.sleep(0.1)
            return [loaded == os.getpid(), len(beats) > before, os.getpid()]
        def leave(self, code):
            os._exit(code)
"""


def test_a_module_with_threads(api, processes):
    service = processes(THREADED, {"run": {}, "leave": {"code": "Integer"}})
    found = [api.run(service, "run")["output"] for _ in range(4)]
    assert all(own and beats for own, beats, _ in found), found
    assert len({pid for _, _, pid in found}) == 4
    told = api.run(service, "leave", {"code": 5})["latestStatus"]
    assert told["error"]["message"] == "the execution's process ended: exit code 5"
    status = api.get(f"/services/{service}/status")["runtimeStatus"]
    assert "starts a new interpreter" in status[0]["message"] and "1 thread" in status[0]["message"], status


SDK = """
    import os
    import dtlpy as dl
    loaded = os.getpid()
    class ServiceRunner(dl.BaseServiceRunner):
        def __init__(self):
            self.before = dl.projects.get(project_id=self.service_entity.project_id).name
        def run(self, item_id, progress):
            progress.update(progress=50)
            again = dl.projects.get(project_id=self.service_entity.project_id).name
            return [self.before, again, loaded, os.getpid(), os.getppid()]
"""


def test_with_the_sdk(api, project, processes):
    """Imported and used before the fork, it works after it, over connections of its own."""
    service = processes(SDK, {"run": {"item_id": "String"}}, versions={})
    ids = [api.execute(service, "run", {"item_id": "x"})["id"] for _ in range(8)]
    found = [api.finished(one, 120)["output"] for one in ids]
    for before, again, loaded, pid, parent in found:
        assert before == again == project.name and loaded == parent != pid, "a fork, which has no threads to fear"
    assert len({pid for _, _, _, pid, _ in found}) == 8


# ── concurrency ──────────────────────────────────────────────────────────────────────────────

COUNTED = """
    import fcntl, os, threading, time
    lock, inside = threading.Lock(), 0
    class ServiceRunner:
        def threads(self, most):
            global inside
            with lock:
                inside += 1
                now = inside
            time.sleep(0.001)
            with lock:
                inside -= 1
            assert now <= most, f"{now} at once"
            return now
        def processes(self, most, folder):
            # Whoever finds all of `most` seats taken is one too many.
            for seat in range(most):
                file = open(os.path.join(folder, f"{os.getppid()}-{seat}"), "w")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                time.sleep(0.002)
                return seat
            raise AssertionError("one too many")
        def size(self, folder):
            # How many are at work at once, as the files that they keep say.
            mark = os.path.join(folder, f"at-{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}")
            open(mark, "w").close()
            time.sleep(0.3)
            now = len([name for name in os.listdir(folder) if name.startswith("at-")])
            os.remove(mark)
            return now
"""
COUNTED_FUNCTIONS = {"threads": {"most": "Integer"}, "processes": {"most": "Integer", "folder": "String"},
                     "size": {"folder": "String"}}
CALLS = 1_000 if harness.SANITIZED else 10_000


def submit(api, service, function, inputs, count):
    """Many at once."""
    ids = []
    while len(ids) < count:
        part = [{"functionName": function, "input": inputs}] * min(1000, count - len(ids))
        ids += [one["id"] for one in api.post(f"/executions/{service}", part)]
    return ids


def results(api, service, count):
    """Waits for all of them; how many have which status."""
    def counts():
        found = {}
        for status in sorted(harness.FINAL):
            page = api.post("/query/faas", {"resource": "executions", "pageSize": 1, "filter": {"$and": [
                {"serviceId": service}, {"latestStatus.status": status}]}})
            found[status] = page["totalItemsCount"]
        return found
    harness.wait_for("all have ended", lambda: sum(counts().values()) >= count, 600, 1)
    return {status: n for status, n in counts().items() if n}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("as_process, replicas, concurrency", [(False, 1, 7), (True, 1, 5), (True, 2, 3)])
def test_never_more_at_once(api, plain, tmp_path, as_process, replicas, concurrency):
    service = plain(COUNTED, COUNTED_FUNCTIONS, runExecutionAsProcess=as_process, executionTimeout=600,
                    runtime={"concurrency": concurrency, "numReplicas": replicas})["id"]
    api.ready(service, replicas)
    inputs = {"most": concurrency, "folder": str(tmp_path)} if as_process else {"most": concurrency}
    calls = CALLS if replicas == 1 else CALLS // 5
    submit(api, service, "processes" if as_process else "threads", inputs, calls)
    assert results(api, service, calls) == {"success": calls}


@pytest.mark.parametrize("as_process", [False, True])
def test_concurrency_changes_under_way(api, plain, tmp_path, as_process):
    """With dynamicConcurrency agents take another one as they are; nothing is replaced."""
    service = plain(COUNTED, COUNTED_FUNCTIONS, runExecutionAsProcess=as_process,
                    runtime={"concurrency": 2, "dynamicConcurrency": True})["id"]
    replica = api.ready(service)[0]["replicaId"]

    def most():
        ids = submit(api, service, "size", {"folder": str(tmp_path)}, 12)
        return max(api.finished(one)["output"] for one in ids)

    assert most() == 2
    version = api.get(f"/services/{service}")["version"]
    for concurrency in (6, 3):
        answer = api.patch(f"/services/{service}", {"runtime": {"concurrency": concurrency, "dynamicConcurrency": True}})
        assert answer["version"] == version and answer["runtime"]["concurrency"] == concurrency
        harness.wait_for(f"{concurrency} run at once", lambda wanted=concurrency: most() == wanted, 60)
    assert [one["replicaId"] for one in api.ready(service)] == [replica]
    answer = api.patch(f"/services/{service}", {"runtime": {"concurrency": 2, "dynamicConcurrency": False}})
    assert answer["version"] != version, "without it, agents are replaced"
