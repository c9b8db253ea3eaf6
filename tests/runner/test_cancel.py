# SPDX-License-Identifier: Apache-2.0
"""Termination: the kill event of running executions, of waiting ones, of coroutines."""
import time


def test_context_and_progress_tell(start):
    agent = start("""
        import time
        def with_progress(progress):
            while True:
                progress.kill_event()
                time.sleep(0.01)
        def with_context(context):
            while not context.cancelled:
                time.sleep(0.01)
            context.kill_event()
        def stubborn(progress):
            print("begun")
            while not progress.cancelled:
                time.sleep(0.01)
            return "finished anyway"
        def other(progress):
            while not progress.cancelled:
                time.sleep(0.01)
            raise ValueError("while ending")
    """)
    agent.load(["with_progress", "with_context", "stubborn", "other"], concurrency=2)
    for id, function in (("e1", "with_progress"), ("e2", "with_context")):
        agent.invoke(id, function)
        time.sleep(0.1)
        agent.send(t="cancel", id=id)
        result = agent.result(id)
        assert result["status"] == "terminated" and result["error"]["type"] == "InterruptedError"
        assert agent.lines(id)[-1] == "[Done] Executing function."
    agent.invoke("e3", "stubborn")
    agent.wait_line("begun", "e3")
    agent.send(t="cancel", id="e3")
    result = agent.result("e3")
    assert result["status"] == "success" and result["output"] == "finished anyway"
    agent.invoke("e4", "other")
    time.sleep(0.1)
    agent.send(t="cancel", id="e4")
    assert agent.result("e4")["error"]["message"] == "ValueError: while ending"


RUNNER = """
    import threading, time
    class Runner:  # what dl.BaseServiceRunner does
        _threads_terminated = []
        _do_reset = False
        def _terminate(self, tid): self._threads_terminated.append(tid)
        def kill_event(self):
            if threading.get_ident() in self._threads_terminated:
                self._threads_terminated.remove(threading.get_ident())
                raise InterruptedError("Execution received termination signal")
        def run(self):
            for _ in range(1500):
                self.kill_event()
                time.sleep(0.01)
        def deaf(self, seconds): time.sleep(seconds)
        def check(self): self.kill_event()
        def told(self): return len(self._threads_terminated)
        def raises(self): raise InterruptedError("of its own")
"""


def test_kill_event_of_a_service_runner(start):
    agent = start(RUNNER)
    agent.load(["run"], class_name="Runner", concurrency=1)
    agent.invoke("e1")
    time.sleep(0.1)
    agent.send(t="cancel", id="e1")
    result = agent.result("e1")
    assert result["status"] == "terminated"
    assert result["error"]["message"] == \
        "InterruptedError: Execution received termination signal"


def test_a_cancel_that_nobody_noticed_hits_no_other_execution(start):
    agent = start(RUNNER)
    agent.load(["deaf", "check", "told"], class_name="Runner", concurrency=1)
    agent.invoke("e1", "deaf", seconds=0.3)
    time.sleep(0.1)
    agent.send(t="cancel", id="e1")
    agent.send(t="cancel", id="e1")
    assert agent.result("e1")["status"] == "success"
    assert agent.call("e2", "check")["status"] == "success"
    assert agent.output("e3", "told") == 0


def test_an_interrupted_error_without_cancel_is_a_failure(start):
    agent = start(RUNNER)
    agent.load(["raises"], class_name="Runner")
    assert agent.call("e1", "raises")["status"] == "failed"


def test_cancel_before_it_runs(start):
    agent = start(RUNNER)
    agent.load(["deaf"], class_name="Runner", concurrency=1)
    agent.invoke("e1", "deaf", seconds=0.5)
    agent.invoke("e2", "deaf", seconds=0)
    agent.send(t="cancel", id="e2")
    assert agent.result("e2")["status"] == "terminated"
    assert agent.lines("e2")[-1] == "[Done] Executing function."
    assert agent.result("e1")["status"] == "success"


def test_cancel_of_a_coroutine(start):
    agent = start("""
        import asyncio
        async def run():
            try:
                await asyncio.sleep(60)
            finally:
                print("cleaned up")
    """)
    agent.load(["run"], concurrency=1)
    for number in range(3):
        id = "e%d" % number
        agent.invoke(id)
        time.sleep(0.2)
        agent.send(t="cancel", id=id)
        assert agent.result(id)["status"] == "terminated"
        assert agent.lines(id)[0] == "cleaned up"


def test_cancels_at_any_moment_leave_exactly_one_result(start):
    agent = start(RUNNER)
    agent.load(["run", "check"], class_name="Runner", concurrency=4)
    for number in range(200):
        id = "e%d" % number
        agent.invoke(id, "check")
        agent.send(t="cancel", id=id)
        assert agent.result(id)["status"] in ("success", "terminated")
    assert agent.stop() == 0
    assert not [one for one in agent.seen if one["t"] == "result"]


def test_progress_frames(start):
    agent = start("""
        def run(progress):
            progress.update(progress=10, message="begun", status="in-progress")
            for _ in range(1000):
                progress.update(progress=50, output={"n": 1})
            progress.update(progress=90, duration=1.5, action="approve")
            try:
                progress.update(output={1, 2})
            except Exception as error:
                return str(error)
    """)
    agent.load(["run"])
    assert "output is of type set" in agent.output("e1")
    frames = [one for one in agent.seen if one["t"] == "progress"]
    assert [one["percent"] for one in frames] == [10, 50, 90]
    assert frames[0] == {"t": "progress", "id": "e1", "fence": 7, "percent": 10,
                         "status": "in-progress", "message": "begun", "output": None}
    assert frames[1]["output"] == {"n": 1}
    assert frames[2]["duration"] == 1.5 and frames[2]["action"] == "approve"


def test_progress_keeps_its_bounds(start):
    agent = start("""
        def run(progress):
            for one in (150, -5, float("nan"), "half", None, 10 ** 400, True, 33.5, "40"):
                progress.update(progress=one, message=one)
        def long(progress):
            progress.update(message="é" * 100000, output="x" * 900)
            progress.update(message="too much", output="x" * 1000)
    """)
    agent.load(["run", "long"], limits={"outputBytes": 1000})
    assert agent.call("e1")["status"] == "success"
    frames = [one for one in agent.seen if one["t"] == "progress"]
    assert [one["percent"] for one in frames] == [100, 0, None, None, None, 100, 1, 33.5, 40]
    assert [one["message"] for one in frames][:5] == ["150", "-5", "nan", "half", None]
    agent.seen.clear()
    assert agent.call("e2", "long")["status"] == "success"
    first, second = [one for one in agent.seen if one["t"] == "progress"]
    assert first["message"] == "é" * 32768 + " [cut: 65536 of 200000 bytes]" and len(first["output"]) == 900
    assert second["message"] == "too much" and second["output"] is None
    assert agent.lines("e2")[0] == ("progress.update: the output has 1002 bytes of JSON, the limit is 1000"
                                    " (--max-output), and was left out")
