# SPDX-License-Identifier: Apache-2.0
"""The native runner: functions of a shared object, on threads and in processes of their own."""
import os
import pathlib
import signal
import subprocess
import time

import pytest

from agent import Agent

ROOT = pathlib.Path(__file__).resolve().parents[2]
DONE = "[Done] Executing function."
BOTH = pytest.mark.parametrize("mode", ["threads", "processes"])


@pytest.fixture(scope="session")
def build_module(tmp_path_factory):
    """build_module(flags…): the folder of functions.c, built as a user would with nothing but the header."""
    made = {}

    def build(*flags):
        if flags not in made:
            folder = made[flags] = tmp_path_factory.mktemp("native")
            subprocess.run(["cc", "-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
                            f"-I{ROOT}/include", *flags, "-o", folder / "functions.so",
                            ROOT / "tests/runner/functions.c", "-pthread"], check=True)
        return made[flags]
    return build


@pytest.fixture
def start(runner_folder, build_module):
    agents = []

    def begin(*flags, folder=None):
        program = os.path.join(runner_folder, "drover-run-native")
        agent = Agent(runner_folder, folder or build_module(*flags), command=[program],
                      env={"ASAN_OPTIONS": "handle_segv=0:handle_abort=0"})  # crashes are what is tested
        agents.append(agent)
        return agent

    yield begin
    for agent in agents:
        agent.close()


def load(agent, mode="threads", functions=("twice",), **more):
    return agent.load(list(functions), entry="functions.so", mode=mode, **more)


def entries(agent, id):
    return [(log["level"], log["message"]) for log in agent.logs if log["id"] == id]


def alive(marker):
    """Processes that sleep for that many seconds."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == b"sleep\0%d\0" % marker:
                found.append(int(entry.name))
        except OSError:
            pass
    return found


@BOTH
def test_loads_and_calls(start, mode):
    agent = start()
    ready = load(agent, mode, init_params={"factor": 3})
    assert ready["pid"] == agent.process.pid and ready["native"]
    assert agent.lines() == ["init 3"]
    before = int(time.time() * 1000) - 1
    result = agent.call("e1", "twice", n=14)
    assert result["status"] == "success" and result["output"] == 42 and result["fence"] == 7
    assert before <= result["startedAt"] <= result["endedAt"] <= time.time() * 1000 + 1
    assert agent.output("e2", "ping") == "pong"
    assert agent.stop() == 0
    assert agent.process.stdout.read() == b"fini 0\n"


@BOTH
def test_values_pass_unchanged(start, mode):
    agent = start()
    load(agent, mode)
    inputs = {"a": 2 ** 70, "b": 0.1, "c": "é\u2028😀\"\\\n", "d": [None, True, {"x": []}], "e": "1"}
    assert agent.output("e1", "echo", **inputs) == inputs
    assert agent.output("e2", "echo") == {}
    long = "x" * 3000000
    assert agent.output("e3", "echo", long=long) == {"long": long}


def test_inputs_by_type_and_path(start):
    agent = start()
    load(agent)
    assert agent.output("e1", "typed", a={"text": "ab\u00e9", "int": 5.0, "real": 1, "bool": True}) == [
        1, 4, 1, 5, 1, 1, 1, 1]
    assert agent.output("e2", "typed", a={"text": 1, "int": 1.5, "real": "x", "bool": 0}) == [0, 0, 0, -1, 0, -1, 0, 0]
    assert agent.output("e3", "typed") == [0, 0, 0, -1, 0, -1, 0, 0]


@BOTH
def test_what_an_execution_knows(start, mode):
    agent = start()
    load(agent, mode)
    assert agent.output("e1", "who") == ["e1", "a@b.c", 1]


@BOTH
def test_failures_say_why(start, mode):
    agent = start()
    load(agent, mode, limits={"outputBytes": 1000})

    def error(function):
        result = agent.call(function, function)
        assert result["status"] == "failed", result
        assert entries(agent, function) == [("ERROR", result["error"]["message"]), ("INFO", DONE)]
        return result["error"]["message"]

    assert error("twice") == 'twice needs a number "n"'
    assert "is not JSON that Drover takes: invalid JSON at line 1, column 6" in error("not_json")
    assert "3002 bytes of JSON, the limit is 1000 (--max-output)" in error("large")
    assert "returned 7" in error("silent")
    assert 'no function "nobody"' in error("nobody")


@BOTH
def test_logs_belong_to_their_execution(start, mode):
    agent = start()
    load(agent, mode, limits={"logLineBytes": 100, "logLinesPerExecution": 4})
    agent.output("e1", "say", n=2)
    assert entries(agent, "e1") == [("WARNING", "xxx")] * 2 + [("INFO", DONE)]
    agent.output("e2", "say", size=1000)
    assert entries(agent, "e2")[0] == ("WARNING", "x" * 100 + " [cut: 100 of 1000 bytes]")
    agent.output("e3", "say", n=10)
    assert agent.lines("e3") == ["xxx"] * 4 + [
        "6 more lines were dropped: the limit is 4 lines per execution", DONE]


def test_output_of_a_process_is_its_log(start):
    agent = start()
    load(agent, "processes")
    agent.output("e1", "print", n=2)
    got = entries(agent, "e1")
    assert [entry for entry in got if entry[0] == "INFO"] == [
        ("INFO", "line 0"), ("INFO", "line 1"), ("INFO", "20%"), ("INFO", "no end"), ("INFO", DONE)]
    assert ("ERROR", "to stderr") in got and got[-1] == ("INFO", DONE)
    agent.output("e2", "print", n=30000)
    assert agent.lines("e2").count(DONE) == 1 and len(agent.lines("e2")) == 30004


def test_output_of_threads_goes_to_the_agents_pipes(start):
    agent = start()
    load(agent)
    agent.output("e1", "print")
    assert os.read(agent.process.stdout.fileno(), 1000) == b"line 0\n10%\r20%\r\nno end"


@BOTH
def test_progress(start, mode):
    agent = start()
    load(agent, mode)
    agent.output("e1", "advance")
    first, second = (agent.until(t="progress", id="e1") for _ in range(2))
    assert (first["percent"], first["message"], first["fence"]) == (25, "a quarter", 7)
    assert (second["percent"], second["message"]) == (None, None)


@BOTH
def test_kill_event(start, mode):
    agent = start()
    load(agent, mode)
    for id, function in (("e1", "wait"), ("e2", "stubborn"), ("e3", "wait")):
        agent.invoke(id, function)
        agent.wait_line("waiting", id)
    agent.send(t="cancel", id="nobody", fence=1)
    agent.send(t="cancel", id="e1", fence=7)
    agent.send(t="cancel", id="e2", fence=7)
    result = agent.result("e1")
    assert result["status"] == "terminated" and result["error"]["type"] == "InterruptedError"
    assert entries(agent, "e1")[1][0] == "WARNING"
    assert agent.result("e2")["output"] == "finished"
    assert agent.output("e4", "twice", n=1) == 2  # and e3 waits on
    agent.send(t="cancel", id="e3", fence=7)
    assert agent.result("e3")["status"] == "terminated"


def test_a_process_is_ended_by_force_alone(start):
    agent = start()
    load(agent, "processes")
    for id in ("e1", "e2"):
        agent.invoke(id, "wait")
        agent.wait_line("waiting", id)
    agent.send(t="kill", id="e1", fence=7)
    result = agent.result("e1")
    assert result["status"] == "failed" and "ended from outside" in result["error"]["message"]
    agent.send(t="cancel", id="e2", fence=7)
    assert agent.result("e2")["status"] == "terminated"


@BOTH
def test_a_new_concurrency(start, mode):
    agent = start()
    load(agent, mode, functions=["wait", "twice"], concurrency=1)
    agent.send(t="settings", concurrency=3)
    agent.invoke("e1", "wait")
    agent.invoke("e2", "wait")
    assert agent.output("e3", "twice", n=4) == 8
    agent.send(t="settings", concurrency=1)  # what runs goes on
    for id in ("e1", "e2"):
        agent.send(t="cancel", id=id, fence=7)
        assert agent.result(id)["status"] == "terminated"
    assert agent.stop() == 0


@BOTH
def test_concurrency(start, mode):
    agent = start()
    load(agent, mode, concurrency=3)
    for number in range(3):
        agent.invoke(f"e{number}", "wait")
    for number in range(3):
        agent.wait_line("waiting", f"e{number}")
        agent.send(t="cancel", id=f"e{number}", fence=7)
    assert {agent.result(f"e{number}")["status"] for number in range(3)} == {"terminated"}


def test_threads_share_their_memory_processes_do_not(start):
    agent = start()
    load(agent)
    assert [agent.output(f"e{number}", "count") for number in range(3)] == [1, 2, 3]
    assert agent.output("e9", "pid") == agent.process.pid
    agent = start()
    load(agent, "processes")
    assert [agent.output(f"e{number}", "count") for number in range(3)] == [1, 1, 1]
    assert agent.output("e9", "pid") != agent.process.pid


@BOTH
def test_who_has_no_credit_waits_alone(start, mode):
    agent = start()
    agent.credit_back = False
    load(agent, mode, limits={"logLineBytes": 1100})
    agent.invoke("e1", "say", n=3000, size=1000)
    sent = 0
    while sent < (1 << 20) - 1200:
        sent += len(agent.frame()["message"])
        sent += 95  # the frame around it, and a little less
    agent.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        while True:
            agent.seen.append(agent.frame())
    agent.socket.settimeout(60)
    assert len(agent.lines("e1")) < 1050
    agent.send(t="credit", bytes=600)  # enough for a [Done], not for a line
    assert agent.call("e2", "twice", n=1)["output"] == 2
    agent.credit_back = True
    agent.give(1 << 20)
    assert agent.result("e1")["status"] == "success"
    assert agent.lines("e1") == ["x" * 1000] * 3000 + [DONE]


@BOTH
def test_init_may_log_more_than_the_window(start, mode):
    agent = start()
    load(agent, mode, init_params={"lines": 3000})
    assert len(agent.lines()) == 3001
    assert agent.output("e1", "twice", n=2) == 4


@BOTH
def test_stop_waits_for_what_runs(start, mode):
    agent = start()
    load(agent, mode)
    agent.invoke("e1", "say", n=2000, size=1000)
    assert agent.stop() == 0
    assert agent.result("e1")["status"] == "success"


@BOTH
def test_the_sockets_end_is_the_runners(start, mode):
    agent = start()
    load(agent, mode)
    agent.invoke("e1", "stubborn")
    agent.wait_line("waiting", "e1")
    agent.socket.close()
    assert agent.exit_code() == 1


# ── loading ──────────────────────────────────────────────────────────────────────────────────

def failure(agent, **more):
    failed = agent.load(more.pop("functions", ["twice"]), entry=more.pop("entry", "functions.so"), answer="failed", **more)
    assert agent.drain() == 1
    assert agent.logs[-1]["level"] == "ERROR" and agent.logs[-1]["message"] == failed["error"]["message"]
    return failed["type"], failed["error"]["message"]


def test_what_cannot_be_loaded(start, tmp_path):
    assert failure(start(), entry="nothing.so") == (
        "codebase", "the entry point cannot be loaded: "
        f"{start().folder}/nothing.so: cannot open shared object file: No such file or directory")
    (tmp_path / "text.so").write_text("int main;")
    kind, message = failure(start(folder=tmp_path), entry="text.so")
    assert kind == "codebase" and "text.so: " in message and "ELF" in message or "too short" in message
    kind, message = failure(start("-DMODULE_NO_TABLE"))
    assert kind == "codebase" and "exports no table drover_module" in message
    kind, message = failure(start("-DMODULE_ABI=9"))
    assert kind == "codebase" and "is of ABI 9, and this runner knows 1 to 1" in message
    kind, message = failure(start(), functions=["twice", "other"])
    assert kind == "codebase" and 'declares the function "other"' in message and "echo, twice" in message
    kind, message = failure(start(), mode="dances")
    assert kind == "internal" and 'no mode "dances"' in message


def test_another_machines_object_is_refused(start, build_module, tmp_path):
    """The same object with another machine's number in its header (e_machine: AArch64)."""
    content = bytearray((build_module() / "functions.so").read_bytes())
    content[18:20] = (0xB7 if content[18] != 0xB7 else 0x3E).to_bytes(2, "little")
    (tmp_path / "functions.so").write_bytes(content)
    kind, message = failure(start(folder=tmp_path))
    assert kind == "codebase" and "cannot open shared object file" in message


@BOTH
def test_init_that_fails(start, mode):
    assert failure(start(), mode=mode, init_params={"factor": -1}) == ("init", "factor is -1, and must not be negative")


# ── hostile functions in processes of their own ──────────────────────────────────────────────

@pytest.mark.parametrize("function, words", [
    ("crash", "killed by signal 11 (SIGSEGV, Segmentation fault)"),
    ("abort", "killed by signal 6 (SIGABRT, Aborted)"),
    ("killed", "killed by signal 9 (SIGKILL, Killed)"),
    ("kill_group", "killed by signal 9 (SIGKILL, Killed)"),
    ("exit", "exited with status 3 before the function returned"),
])
def test_a_crash_fails_its_execution_alone(start, function, words):
    agent = start()
    load(agent, "processes")
    agent.invoke("other", "wait")
    agent.wait_line("waiting", "other")
    result = agent.call("e1", function)
    assert result["status"] == "failed" and words in result["error"]["message"]
    assert result["error"]["type"] == "ProcessEnded"
    assert entries(agent, "e1")[-2:] == [("ERROR", result["error"]["message"]), ("INFO", DONE)]
    assert ("INFO", "before the crash") in entries(agent, "e1") or function != "crash"
    assert agent.output("e2", "twice", n=2) == 4
    agent.send(t="cancel", id="other", fence=7)
    assert agent.result("other")["status"] == "terminated"


def test_a_crash_on_a_thread_is_the_runners(start):
    agent = start()
    load(agent)
    agent.invoke("e1", "crash")
    assert agent.drain() == -signal.SIGSEGV


def test_writing_to_foreign_descriptors_hurts_nobody_else(start):
    agent = start()
    load(agent, "processes")
    result = agent.call("e1", "scribble")
    assert result["status"] == "failed" and result["error"]["type"] == "ProcessEnded"
    assert agent.output("e2", "twice", n=2) == 4


@pytest.mark.parametrize("dies", [False, True])
def test_nothing_outlives_an_execution(start, dies):
    agent = start()
    load(agent, "processes")
    marker = 50000 + os.getpid() % 10000 * 2 + dies
    agent.invoke("e1", "family", marker=marker, dies=dies)
    end = time.monotonic() + 60
    while len(alive(marker)) < 2 and time.monotonic() < end:
        time.sleep(0.001)
    assert agent.result("e1")["status"] == ("failed" if dies else "success")
    assert alive(marker) == []
    assert agent.output("e2", "twice", n=2) == 4


def test_usage_of_a_process(start):
    agent = start()
    load(agent, "processes")
    small = agent.call("e1", "twice", n=1)["usage"]
    large = agent.call("e2", "memory")["usage"]
    assert 0 < small["peakMemoryKib"] < 64 << 10 <= large["peakMemoryKib"] < 200 << 10
    assert 0 <= small["cpuMs"] < 5000
    assert agent.call("e3", "crash")["usage"]["peakMemoryKib"] > 0


def test_a_module_with_threads_is_loaded_for_each_execution(start):
    agent = start("-DMODULE_THREADS")
    load(agent, "processes", init_params={"factor": 5, "lines": 1500})
    assert agent.lines()[-2] == "init 5" and "1 threads of its own" in agent.lines()[-1]
    assert agent.output("e1", "twice", n=2) == 10
    assert agent.lines("e1")[-2:] == ["init 5", DONE]
    assert agent.output("e2", "ping") == "pong"
    assert agent.stop() == 0
