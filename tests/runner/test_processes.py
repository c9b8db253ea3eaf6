# SPDX-License-Identifier: Apache-2.0
"""A process for each execution, forked from the warm image."""
import os
import signal
import time

import pytest

SIMPLE = """
    import os, random, sys
    loaded = os.getpid()

    def run(value=None):
        print("value", value)
        os.write(1, b"below\\n")
        return [value, loaded, os.getpid()]

    def spin():
        data = bytearray(50 << 20)
        end = os.times().user + 0.2
        while os.times().user < end:
            pass
        return len(data)

    def leave(code):
        os._exit(code)

    def crash():
        os.kill(os.getpid(), 11)

    def draw():
        return random.random()

    def environment():
        return dict(os.environ)
"""
FUNCTIONS = ("run", "spin", "leave", "crash", "draw", "environment")


@pytest.fixture
def warm(start):
    def begin(code=SIMPLE, functions=FUNCTIONS, env=None, **load):
        agent = start(code, env=env, nursery=True)
        agent.load(functions=functions, mode="processes", **load)
        return agent
    return begin


def test_each_execution_has_a_process(warm):
    agent = warm()
    pids = set()
    for number in (1, 2, 3):
        child = agent.fork(number)
        told = child.begun()
        assert told["t"] == "forked" and told["threads"] == 0
        value, loaded, pid = child.output("e%d" % number, value=number)
        assert value == number and loaded == agent.process.pid and pid == told["pid"] != loaded
        assert child.lines("e%d" % number) == ["value %d" % number, "[Done] Executing function."]
        assert child.end()["status"] == 0
        assert child.output_of(0) == "below\n"
        pids.add(pid)
    assert len(pids) == 3
    assert agent.stop() == 0


def test_a_result_says_what_it_used(warm):
    agent = warm()
    child = agent.fork()
    child.begun()
    used = child.call("e", "spin")["usage"]
    assert used["cpuMs"] >= 190 and used["peakMemoryKib"] > 50 << 10
    end = child.end()
    assert end["cpuMs"] >= used["cpuMs"] - 10 and end["peakMemoryKib"] >= used["peakMemoryKib"]


def test_an_end_without_a_result(warm):
    agent = warm()
    for number, (function, inputs, status) in enumerate((("leave", {"code": 3}, 3 << 8), ("crash", {}, 11))):
        child, beside = agent.fork(2 * number), agent.fork(2 * number + 1)
        beside.begun()
        child.invoke("e", function, **inputs)
        assert child.end()["status"] & 0xff7f == status
        assert beside.output("f", value=1)[0] == 1, "its neighbour notices nothing"
        if function == "crash":
            assert "Segmentation fault" in child.output_of(1)


def test_a_cancel_reaches_its_execution_only(warm):
    agent = warm("""
        import time
        def run(progress):
            while True:
                progress.kill_event()
                time.sleep(0.01)
    """, ("run",))
    first, second = agent.fork(1), agent.fork(2)
    first.invoke("a")
    second.invoke("b")
    first.send(t="cancel", id="a", fence=7)
    assert first.result("a")["status"] == "terminated"
    second.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        second.result("b")


def test_what_is_made_anew_in_each(warm):
    agent = warm("import random\nrandom.seed(1)\ndef draw():\n    return random.random()\n", ("draw",))
    children = [agent.fork(number) for number in range(4)]
    assert len({child.output("e", "draw") for child in children}) == 4


def test_numeric_libraries_have_one_thread_while_loading(warm):
    agent = warm("""
        import os
        found = {name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
        def run():
            return [found, os.environ.get("OPENBLAS_NUM_THREADS"), os.environ.get("OMP_NUM_THREADS")]
    """, ("run",), env={"OMP_NUM_THREADS": "3"})
    assert agent.fork().output("e") == [{"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "3"}, None, "3"]


def test_user_code_that_waits_for_all(warm):
    """A thread of the module reaps what is not its own: how a process ended is not known then."""
    agent = warm("""
        import os, threading, time
        def reap():
            while True:
                try:
                    os.wait()
                except ChildProcessError:
                    time.sleep(0.001)
        threading.Thread(target=reap, daemon=True).start()
        def run():
            return 1
    """, ("run",))
    for number in (1, 2):
        child = agent.fork(number)
        child.begun()
        assert child.output("e") == 1
        assert child.end().get("status", 0) == 0


THREADED = """
    import os, threading, time
    loaded = os.getpid()
    beats = []
    def beat():
        while True:
            beats.append(1)
            time.sleep(0.01)
    threading.Thread(target=beat, daemon=True).start()

    def run():
        before = len(beats)
        time.sleep(0.2)
        return [loaded == os.getpid(), len(beats) > before, os.environ.get("OMP_NUM_THREADS")]
"""


def test_a_module_with_threads_starts_anew(warm):
    agent = warm(THREADED, ("run",))
    for number in (1, 2):
        child = agent.fork(number)
        assert child.begun()["threads"] == 1
        assert child.output("e%d" % number) == [True, True, None]
        assert child.end()["status"] == 0


def test_a_renewed_token_reaches_forks(warm):
    agent = warm("def run():\n    return 1\n", ("run",))
    child = agent.fork()
    child.begun()
    child.send(t="token", token="new")
    agent.send(t="token", token="new")
    assert child.output("e") == 1 and agent.fork(2).output("f") == 1


def test_a_fork_ends_with_its_socket(warm):
    agent = warm()
    child = agent.fork()
    child.begun()
    child.socket.close()
    assert os.waitstatus_to_exitcode(child.end()["status"]) == 1


def test_the_group_of_a_process_ends_with_it(warm):
    agent = warm("""
        import os, time
        def run():
            pid = os.fork()
            if pid == 0:
                time.sleep(1000)
            return pid
    """, ("run",))
    child = agent.fork()
    pid = child.output("e")
    child.end()
    deadline = time.monotonic() + 30
    while os.path.exists("/proc/%d" % pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_orphans_are_adopted_while_it_runs(warm):
    """Of a process that has left its group: whoever looks for what an execution left finds it."""
    agent = warm("""
        import os, time
        def run():
            read, write = os.pipe()
            if os.fork() == 0:
                os.setsid()
                pid = os.fork()
                if pid == 0:
                    time.sleep(1000)
                os.write(write, b"%d" % pid)
                os._exit(0)
            os.wait()
            pid = int(os.read(read, 20))
            with open("/proc/%d/stat" % pid) as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            os.kill(pid, 9)
            return [parent, os.getpid()]
    """, ("run",))
    parent, pid = agent.fork().output("e")
    assert parent == pid


def test_a_signal_to_the_warm_image_is_ignored(warm):
    agent = warm()
    agent.process.send_signal(signal.SIGTERM)
    assert agent.fork().output("e", value=1)[0] == 1


def test_more_threads_on_demand(start):
    agent = start("""
        import threading
        gate = threading.Barrier(3)
        def run():
            gate.wait(60)
            return 1
    """)
    agent.load(functions=("run",), concurrency=1)
    agent.send(t="settings", concurrency=3)
    for name in "abc":
        agent.invoke(name)
    assert [agent.result(name)["output"] for name in "abc"] == [1, 1, 1]
