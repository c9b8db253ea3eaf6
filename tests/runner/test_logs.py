# SPDX-License-Identifier: Apache-2.0
"""What becomes of output: entries, their level, their execution, credit and limits."""
import time

import pytest

DONE = "[Done] Executing function."


def entries(agent, id):
    return [(log["level"], log["message"]) for log in agent.logs if log["id"] == id]


def test_every_kind_of_output(start):
    agent = start("""
        import logging, sys, warnings
        logger = logging.getLogger("mine")
        print("loading")
        def run():
            print("one"); print("two", end="\\nthree"); print()
            print("to stderr", file=sys.stderr)
            sys.stdout.buffer.write("é".encode()[:1]); sys.stdout.buffer.write("é".encode()[1:] + b"\\xff\\n")
            sys.stdout.writelines(["a\\n", "b\\n"])
            sys.stdout.write("lone \\ud800\\n")
            print("nul\\0in", end="\\0\\n")
            logger.debug("not shown")
            logger.info("info %d", 1)
            logger.warning("warning")
            logger.error("error")
            logger.critical("critical")
            logger.info("bad %d", "text")
            logger.log(15, "not shown")
            try:
                1 / 0
            except ZeroDivisionError:
                logger.exception("caught")
            warnings.warn("careful")
            print("no line end", end="")
            return sys.stdout.fileno()
    """)
    agent.load(["run"])
    assert agent.lines() == ["loading"]
    assert agent.output("e1") == 1
    got = entries(agent, "e1")
    assert got[:13] == [
        ("INFO", "one"), ("INFO", "two"), ("INFO", "three"), ("ERROR", "to stderr"),
        ("INFO", "é\ufffd"), ("INFO", "a"), ("INFO", "b"), ("INFO", "lone ?"),
        ("INFO", "nul\ufffdin\ufffd"),
        ("INFO", "info 1"), ("WARNING", "warning"), ("ERROR", "error"), ("CRITICAL", "critical")]
    assert got[13][0] == "INFO" and "cannot be formatted" in got[13][1]
    assert got[14][0] == "ERROR" and got[14][1].startswith("caught\nTraceback")
    assert got[14][1].endswith("ZeroDivisionError: division by zero")
    assert got[15][0] == "WARNING" and "careful" in got[15][1]
    assert got[16:] == [("INFO", "no line end"), ("INFO", DONE)]
    log = agent.logs[-1]
    assert log["function"] == "run" and abs(log["at"] - time.time() * 1000) < 20000


def test_progress_bars_become_their_last_state(start):
    agent = start("""
        import sys
        def run():
            for n in range(1000):
                sys.stdout.write("\\r%d of 1000" % n)
            sys.stdout.write("\\n")
            sys.stdout.write("dos\\r\\n")
    """)
    agent.load(["run"])
    agent.output("e1")
    assert agent.lines("e1") == ["999 of 1000", "dos", DONE]


def test_entries_belong_to_their_execution(start):
    agent = start("""
        import logging, threading, time
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        def part(name): print("pool", name); return name
        def thread(name):
            logging.getLogger().info("thread %s", name)
            inner = threading.Thread(target=print, args=("inner", name))
            inner.start(); inner.join()
        class Own(threading.Thread):
            def run(self): print("own", self.name)
        barrier = threading.Barrier(4, timeout=15)
        def run(name):
            print("begin", name, end=" ")
            barrier.wait()
            print("end", name)
            assert list(pool.map(part, [name])) == [name]
            for one in (threading.Thread(target=thread, args=(name,)), Own(name=name)):
                one.start()
                one.join()
    """)
    agent.load(["run"], concurrency=4)
    for round in range(3):
        names = ["e%d-%d" % (round, number) for number in range(4)]
        for name in names:
            agent.invoke(name, name=name)
        for name in names:
            assert agent.result(name)["status"] == "success"
            assert agent.lines(name) == [
                "begin %s end %s" % (name, name), "pool %s" % name, "thread %s" % name,
                "inner %s" % name, "own %s" % name, DONE]
    assert agent.lines() == []


def test_threads_that_outlive_their_execution(start):
    agent = start("""
        import threading
        go = threading.Event()
        def late():
            go.wait(15)
            print("late")
            raise RuntimeError("in the background")
        def run(): threading.Thread(target=late, name="background").start()
        def release(): go.set()
    """)
    agent.load(["run", "release"])
    agent.output("e1")
    agent.output("e2", "release")
    agent.wait_line("in the background")
    assert agent.lines("e1") == [DONE]
    late = [log for log in agent.logs if log["id"] is None]
    assert late[0]["message"] == "late" and late[0]["function"] is None
    assert late[1]["level"] == "ERROR"
    assert late[1]["message"].startswith("Exception in thread background\nTraceback")


def test_exceptions_of_threads_belong_to_their_execution(start):
    agent = start("""
        import _thread, threading
        class Own(threading.Thread):
            def run(self):
                print("own")
                raise ValueError("in own")
        def target():
            print("target", end="")
            raise ValueError("in target")
        def low(started, text="", more=""):
            started.release()
            print(text + more)
            raise ValueError("in low")
        def run():
            for one in (Own(name="first"), threading.Thread(target=target, name="second")):
                one.start()
                one.join()
        def start_low():
            started = _thread.allocate_lock()
            started.acquire()
            before = _thread._count()
            _thread.start_new_thread(low, (started, "low"), {"more": "er"})
            started.acquire()
            while _thread._count() > before: pass
        def wrong(): _thread.start_new_thread("nothing", ())
    """)
    agent.load(["run", "start_low", "wrong"])
    agent.output("e1")
    assert [text.rpartition("\n")[2] for level, text in entries(agent, "e1")] == [
        "own", "ValueError: in own", "target", "ValueError: in target", DONE]
    errors = [text for level, text in entries(agent, "e1") if level == "ERROR"]
    assert errors[0].startswith("Exception in thread first\nTraceback")
    assert errors[1].startswith("Exception in thread second\nTraceback") and "drover_" not in errors[1]
    agent.output("e2", "start_low")
    lines = agent.lines("e2")
    assert lines[0] == "lower" and "ValueError: in low" in lines and lines[-1] == DONE
    assert "must be callable" in agent.call("e3", "wrong")["error"]["message"]
    assert agent.lines() == []


def test_done_comes_before_the_result(start):
    agent = start("""
        def run(): print("x")
        def fail(): raise ValueError
    """)
    agent.load(["run", "fail"])
    for id, function in (("e1", "run"), ("e2", "fail")):
        agent.invoke(id, function)
        order = []
        while not order or order[-1]["t"] != "result":
            order.append(agent.frame())
        assert [frame["t"] for frame in order] == ["log", "log", "result"]
        assert order[1]["message"] == DONE and order[1]["level"] == "INFO"


def test_lines_past_the_limit_are_counted(start):
    agent = start("""
        def run(n):
            for i in range(n): print(i)
    """)
    agent.load(["run"], limits={"logLinesPerExecution": 10})
    agent.output("e1", n=25)
    assert agent.lines("e1") == [str(i) for i in range(10)] + [
        "15 more lines were dropped: the limit is 10 lines per execution", DONE]
    agent.output("e2", n=10)
    assert agent.lines("e2") == [str(i) for i in range(10)] + [DONE]


def test_long_lines_are_split_long_records_cut(start):
    agent = start("""
        import logging
        def run(end):
            print("é" * 2500, end=end)
            logging.info("é" * 2500)
    """)
    agent.load(["run"], limits={"logLineBytes": 2000})
    for id, end in (("e1", "\n"), ("e2", "")):
        agent.output(id, end=end)
        lines = agent.lines(id)
        assert any("[cut: 2000 of 5000 bytes]" in line for line in lines)
        assert all(len(line.encode()) < 2100 for line in lines)
        assert sum(line.count("é") for line in lines) == 2500 + 1000


def test_a_thread_without_credit_waits_alone(start):
    agent = start("""
        import logging
        def flood():
            for i in range(3000): print("x" * 1000)
        def log():
            for i in range(3000): logging.info("x" * 1000)
        def quiet(): return 1
    """)
    agent.load(["flood", "log", "quiet"], concurrency=4)
    for function in ("flood", "log"):
        agent.credit_back = False
        window = (1 << 20) - sum(size_of(log) for log in agent.logs)
        before = len(agent.logs)
        agent.invoke("e-" + function, function)
        agent.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                agent.seen.append(agent.frame())
        agent.socket.settimeout(20)
        sent = sum(size_of(log) for log in agent.logs[before:])
        assert window - 1200 <= sent <= window
        agent.send(t="credit", bytes=500)  # enough for one [Done], not for a flood's line
        agent.invoke("q-" + function, "quiet")
        assert agent.result("q-" + function)["output"] == 1
        agent.credit_back = True
        agent.give((1 << 20) - 500 - (window - sent) + sum(
            size_of(log) for log in agent.logs[before:]) - sent)
        agent.result("e-" + function)
        assert agent.lines("e-" + function) == ["x" * 1000] * 3000 + [DONE]
        agent.logs.clear()
        agent.give(0)
        agent = agent if function == "log" else restart(start, agent)


def restart(start, agent):
    import pathlib
    code = pathlib.Path(agent.folder, "main.py").read_text(encoding="utf-8")
    fresh = start(code)
    fresh.load(["flood", "log", "quiet"], concurrency=4)
    return fresh


def size_of(log):
    """The bytes of a log frame as the runner wrote it."""
    import json
    return len(json.dumps(log, separators=(",", ":"), ensure_ascii=False).encode())


def test_a_constructor_may_log_more_than_the_window(start):
    agent = start("""
        for i in range(2000): print("x" * 1000)
        def run(): return 1
    """)
    agent.load(["run"])
    assert len(agent.lines()) == 2000
    assert agent.output("e1") == 1


def test_user_code_may_set_up_logging_itself(start):
    agent = start("""
        import logging
        logging.basicConfig(level=logging.DEBUG, format="%(message)s!", force=True)
        def run(): logging.debug("shown")
    """)
    agent.load(["run"])
    agent.output("e1")
    assert agent.lines("e1") == ["shown!", DONE]
