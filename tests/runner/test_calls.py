# SPDX-License-Identifier: Apache-2.0
"""Invokes and results: values in and out, errors, threads, the ends of a runner."""
import json
import time

from agent import elapsed


def test_loads_constructs_calls(start):
    agent = start("""
        class Runner:
            def __init__(self, factor):
                self.factor = factor
            def run(self, n):
                return {"product": n * self.factor}
    """)
    ready = agent.load(["run"], class_name="Runner", init_params={"factor": 3})
    assert ready["pid"] == agent.process.pid and ready["python"].startswith("3.")
    before = int(time.time() * 1000) - 1
    result = agent.call("e1", n=14)
    assert result["status"] == "success" and result["output"] == {"product": 42}
    assert result["fence"] == 7
    assert before <= result["startedAt"] <= result["endedAt"] <= time.time() * 1000 + 1
    assert agent.stop() == 0


def test_values_pass_unchanged(start):
    agent = start("def run(**inputs): return inputs")
    agent.load(["run"])
    inputs = {"a": 2 ** 70, "b": 0.1, "c": "é\u2028😀\"\\\n", "d": [None, True, {"x": []}], "e": "1"}
    assert agent.output("e1", **inputs) == inputs
    assert agent.output("e2", **{"ключ": 1}) == {"ключ": 1}


def test_frames_split_and_joined_anywhere(start):
    agent = start("def run(text): return len(text)")
    agent.load(["run"])
    frames = b""
    for number, size in enumerate((0, 10, 200000, 65530, 65536, 3)):
        payload = json.dumps({"t": "invoke", "id": "e%d" % number, "fence": number, "later": [{}],
                              "function": "run", "input": {"text": "}" * size}}).encode()
        frames += len(payload).to_bytes(4, "big") + payload
    for at in range(0, len(frames), 30011):
        agent.socket.sendall(frames[at:at + 30011])
    for number, size in enumerate((0, 10, 200000, 65530, 65536, 3)):
        result = agent.result("e%d" % number)
        assert result["output"] == size and result["fence"] == number


def test_unknown_frames_and_members_are_ignored(start):
    agent = start("def run(): return 1")
    agent.load(["run"], surprise={"x": 1})
    agent.send(t="tomorrow", id="e1")
    agent.send(t="cancel", id="nobody")
    assert agent.output("e1") == 1


def test_inputs_that_do_not_fit_are_the_functions_own_error(start):
    agent = start("def run(a, b=2): return a")
    agent.load(["run"])
    missing = agent.call("e1")
    assert missing["status"] == "failed"
    assert missing["error"]["type"] == "TypeError"
    assert "missing 1 required positional argument: 'a'" in missing["error"]["message"]
    assert "unexpected keyword argument 'c'" in agent.call("e2", a=1, c=3)["error"]["message"]


def test_exceptions_carry_the_users_frames_only(start):
    agent = start("""
        def inner():
            raise ValueError("no such thing")
        def run():
            inner()
    """)
    agent.load(["run"])
    error = agent.call("e1")["error"]
    assert error["message"] == "ValueError: no such thing" and error["type"] == "ValueError"
    assert "in inner" in error["stack"] and "in run" in error["stack"]
    assert "drover_" not in error["stack"]
    entries = [log for log in agent.logs if log["id"] == "e1"]
    assert entries[0]["level"] == "ERROR" and entries[0]["message"] == error["stack"]
    assert entries[-1]["message"] == "[Done] Executing function."


def test_every_way_out_of_a_function_is_a_result(start):
    agent = start("""
        import sys
        class Odd(Exception):
            def __str__(self): raise RuntimeError("no text")
        def leave(): sys.exit(3)
        def interrupt(): raise KeyboardInterrupt
        def deep(n=0): return deep(n + 1)
        def odd(): raise Odd()
        def nested():
            value = []
            for _ in range(100000): value = [value]
            return value
        def circle():
            value = {}
            value["self"] = value
            return value
        def memory(): return bytearray(1 << 60)
        def items(): yield 1
        def fine(): return "fine"
    """)
    agent.load(["leave", "interrupt", "deep", "odd", "nested", "circle", "memory", "items", "fine"])

    def message(function):
        result = agent.call(function, function)
        assert result["status"] == "failed", result
        return result["error"]["message"]

    assert message("leave") == "SystemExit: 3"
    assert message("interrupt") == "KeyboardInterrupt"
    assert message("deep").startswith("RecursionError: ")
    assert message("odd") == "Odd: <its str() raised RuntimeError>"
    assert "nested too deeply" in message("nested")
    assert "contains itself" in message("circle")
    assert message("memory").startswith(("MemoryError", "OverflowError"))
    assert "is a generator: return a value" in message("items")
    assert agent.output("e9", "fine") == "fine"


def test_outputs_without_json_say_what_and_where(start):
    agent = start("""
        def run(kind):
            return {
                "set": {"a": [1, {"b": {2}}]},
                "nan": [0.5, {"x": float("nan")}],
                "infinite": -float("inf"),
                "key": {"a": {(1, 2): 3}},
                "bytes": b"abc",
                "surrogate": "\\ud800",
                "big": "x" * 2000,
                "fits": "x" * 900,
                "tuple": (1, (2,)),
                "keys": {1: 2, None: 3, True: 4},
                "nul": {"a": ["one\\0two"]},
                "nul key": {"\\0": 1},
                "no nul": "C:\\\\u0000",
                "11 levels": nested(11),
                "10 levels": [["[[[[[[["], nested(9), {"a": "]\\"["}] + [{}] * 20,
            }[kind]
        def nested(levels):
            return [nested(levels - 1)] if levels > 1 else {}
    """)
    agent.load(["run"], limits={"outputBytes": 1000, "jsonDepth": 10})

    def message(kind):
        result = agent.call(kind, kind=kind)
        assert result["status"] == "failed", result
        return result["error"]["message"]

    assert "output.a[1].b is of type set" in message("set")
    assert "output[1].x is nan, and JSON has no NaN or Infinity" in message("nan")
    assert "output is -inf" in message("infinite")
    assert "output.a has a key of type tuple: (1, 2)" in message("key")
    assert "output is of type bytes" in message("bytes")
    assert "not valid Unicode" in message("surrogate")
    assert "2002 bytes of JSON, the limit is 1000 (--max-output)" in message("big")
    assert agent.output("e8", kind="fits") == "x" * 900
    assert agent.output("e9", kind="tuple") == [1, [2]]
    assert agent.output("e10", kind="keys") == {"1": 4, "null": 3}
    assert "the character NUL" in message("nul")
    assert "the character NUL" in message("nul key")
    assert agent.output("e11", kind="no nul") == "C:\\u0000"
    assert "the limit is 10 levels (limits.jsonDepth)" in message("11 levels")
    assert len(agent.output("e12", kind="10 levels")) == 23


def test_errors_hold_no_nul(start):
    agent = start("def run(): raise ValueError('one\\0two')")
    agent.load(["run"])
    error = agent.call("e1")["error"]
    assert error["message"] == "ValueError: one\ufffdtwo"
    assert "\0" not in error["stack"]


def test_errors_hold_no_half_of_a_surrogate_pair(start):
    agent = start("""
        import os
        def run(): raise ValueError("bad file name: " + os.fsdecode(b"caf\\xe9.txt"))
        def say(progress): progress.update(message=os.fsdecode(b"caf\\xe9 one\\0two"), status=os.fsdecode(b"\\xff"))
    """)
    agent.load(["run", "say"])
    error = agent.call("e1")["error"]
    assert error["message"] == "ValueError: bad file name: caf?.txt"
    assert error["stack"].endswith(error["message"])
    assert agent.lines("e1")[0] == error["stack"]
    assert agent.call("e2", "say")["status"] == "success"
    said = agent.until(t="progress")
    assert said["message"] == "caf? one\ufffdtwo" and said["status"] == "?"
    agent = start("""
        import os
        class Runner:
            def __init__(self): raise ValueError(os.fsdecode(b"caf\\xe9"))
    """)
    assert agent.load(class_name="Runner", answer="failed")["error"]["message"] == "ValueError: caf?"


def test_large_output(start):
    agent = start("def run(): return 'x' * (20 << 20)")
    agent.load(["run"])
    assert len(agent.output("e1")) == 20 << 20


def test_functions_run_at_the_same_time(start):
    agent = start("""
        import threading
        barrier = threading.Barrier(4, timeout=15)
        def run(): return barrier.wait() is not None
    """)
    agent.load(["run"], concurrency=4)
    for round in range(3):
        for number in range(4):
            agent.invoke("e%d-%d" % (round, number))
        for number in range(4):
            assert agent.result("e%d-%d" % (round, number))["output"] is True


def test_a_slow_function_holds_up_no_finished_result(start):
    agent = start("""
        import time
        def run(seconds):
            time.sleep(seconds)
            return seconds
    """)
    agent.load(["run"], concurrency=2)
    begin = time.monotonic()
    agent.invoke("slow", seconds=5)
    for number in range(20):
        assert agent.output("e%d" % number, seconds=0) == 0
    assert elapsed(begin) < 4
    agent.close()


def test_async_functions(start):
    agent = start("""
        import asyncio
        async def run(n):
            await asyncio.sleep(0.01)
            return n + 1
        async def fail():
            await asyncio.sleep(0)
            raise LookupError("lost")
        async def many():
            yield 1
    """)
    agent.load(["run", "fail", "many"])
    assert agent.output("e1", n=1) == 2
    assert agent.call("e2", "fail")["error"]["message"] == "LookupError: lost"
    assert "is a generator" in agent.call("e3", "many")["error"]["message"]


def test_functions_that_are_not_declared(start):
    agent = start("""
        class Runner:
            def run(self): return 1
            def other(self, n): return n
            def _hidden(self): return 1
            value = 3
    """)
    agent.load(["run"], class_name="Runner")
    assert agent.output("e1", "other", n=2) == 2
    for number, name in enumerate(("_hidden", "__init__", "value", "missing")):
        result = agent.call("f%d" % number, name)
        assert result["status"] == "failed" and repr(name) in result["error"]["message"], result


def test_ping_is_built_in(start):
    agent = start("def run(): return 1", env={"PYTHONPATH": ""})
    agent.load(["run"])
    assert agent.output("e1", "ping") == "pong"


def test_the_module_is_importable_under_both_names(start):
    agent = start("""
        import helper
        def run(): return [__name__, helper.name(), helper.same()]
    """, files={"helper.py": """
        def name():
            import main
            return main.__name__
        def same():
            import sys
            return sys.modules["my_module"] is sys.modules["main"]
    """})
    agent.load(["run"], name="my_module")
    assert agent.output("e1") == ["main", "main", True]


def test_entry_points_in_folders_and_with_taken_names(start):
    agent = start(files={"sub/main.py": """
        from . import near
        def run(): return near.VALUE
    """, "sub/near.py": "VALUE = 5"})
    agent.load(["run"], entry="sub/main.py")
    assert agent.output("e1") == 5
    agent = start(files={"json.py": "def run(): return __name__"})
    agent.load(["run"], entry="json.py", name="my_module")
    assert agent.output("e1") == "my_module"


def failed(agent, **load):
    frame = agent.load(answer="failed", **load)
    assert agent.drain() == 1
    return frame


def test_code_that_cannot_be_loaded(start):
    def check(code, text, **load):
        frame = failed(start(code), **{"functions": ["run"], **load})
        assert frame["type"] == "codebase", frame
        assert text in frame["error"]["message"], frame
        assert "drover_module" not in frame["error"]["stack"]
        return frame

    frame = check("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'")
    assert "main.py" in frame["error"]["stack"]
    check("def run(:", "SyntaxError")
    check("x = 1", "there is no function 'run' in main.py")
    check("run = 1", "'run' is not a function but of type int")
    check("x = 1", "there is no class 'Runner' in main.py", class_name="Runner")
    check("class Runner: pass", "there is no function 'run' in class Runner", class_name="Runner")
    check("", "the entry point 'other.py' is not in the package's code", entry="other.py")
    check("raise SystemExit(4)", "SystemExit: 4")


def test_constructors_that_fail(start):
    agent = start("""
        class Runner:
            def __init__(self, n=1): print("half"); raise OSError("no disk")
            def run(self): return 1
    """)
    frame = failed(agent, functions=["run"], class_name="Runner")
    assert frame["type"] == "init" and frame["error"]["message"] == "OSError: no disk"
    assert agent.lines()[0] == "half" and "no disk" in agent.lines()[1]
    agent = start("class Runner: pass")
    frame = failed(agent, class_name="Runner", init_params={"n": 1})
    assert frame["type"] == "init" and frame["error"]["type"] == "TypeError"


def test_modes_it_does_not_know(start):
    agent = start("def run(): return 1")
    agent.send(t="load", folder=agent.folder, module={}, mode="sideways")
    frame = agent.until(t="failed")
    assert frame["type"] == "internal" and "sideways" in frame["error"]["message"]


def test_stop_lets_running_ones_report(start):
    agent = start("""
        import atexit, time
        atexit.register(lambda: print("bye"))
        def run():
            time.sleep(0.3)
            return 1
    """)
    agent.load(["run"], concurrency=2)
    agent.invoke("e1")
    agent.invoke("e2")
    assert agent.stop() == 0
    assert sorted(one["id"] for one in agent.seen if one["t"] == "result") == ["e1", "e2"]
    assert "bye" in agent.lines()


def test_the_agents_end_is_the_runners_end(start):
    agent = start("""
        def run():
            while True: pass
    """)
    agent.load(["run"])
    agent.invoke("e1")
    time.sleep(0.1)
    agent.socket.close()
    assert agent.exit_code() == 1


def test_nonsense_ends_the_runner(start):
    for payload in (b"[]", b"{", b'{"t":"invoke"}', b'{"t":"credit","bytes":-1}', b"\xff"):
        agent = start("def run(): return 1")
        agent.load(["run"])
        agent.send_bytes(payload)
        assert agent.drain() == 1
        assert b"drover runner: " in agent.process.stderr.read()
    agent = start("def run(): return 1")
    agent.socket.sendall(b"\xff\xff\xff\xff")
    assert agent.drain() == 1


def test_reset(start):
    agent = start("""
        class Runner:
            _do_reset = False
            def run(self):
                self._do_reset = True
    """)
    agent.load(["run"], class_name="Runner")
    assert agent.output("e1") is None
    agent.until(t="reset")
    assert agent.output("e2") is None
    assert agent.stop() == 0
    assert not [one for one in agent.seen if one["t"] == "reset"]
