# SPDX-License-Identifier: Apache-2.0
"""drover run: a function of a folder without a server, with an agent's runner and limits."""
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import harness

CODE = """
    import logging, os, sys, time
    class ServiceRunner:
        def __init__(self, greeting="Hello"):
            self.greeting = greeting
        def run(self, name):
            print("greeting", name)
            logging.getLogger("x").warning("careful")
            print("on stderr", file=sys.stderr)
            return {"text": f"{self.greeting}, {name}!"}
        def fail(self):
            raise ValueError("no luck")
        def nap(self, seconds):
            print("napping", flush=True)
            time.sleep(seconds)
        def leave(self):
            os._exit(9)
        def large(self):
            return "x" * (17 << 20)
        def where(self):
            return {"cwd": os.getcwd(), "home": os.environ["HOME"], "key": os.environ.get("DROVER_API_KEY")}
        def eat(self, mib):
            return len(bytearray(int(mib) << 20))
"""

POLITE = """
    import time
    class ServiceRunner:
        def polite(self, context):
            while not context.cancelled:
                time.sleep(0.05)
            context.kill_event()
"""


@pytest.fixture
def run(tmp_path):
    """run(function, *options): the finished process."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "main.py").write_text(textwrap.dedent(CODE))
    env = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
    env.update(TMPDIR=str(tmp_path), DROVER_API_KEY="secret", PIP_NO_INDEX="1")

    def start(function, *options, **more):
        command = [str(harness.BUILD / "drover"), "run", str(folder), function, "--python", sys.executable,
                   "--cache", str(harness.CACHE / "agents"), *options]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def finish(function, *options):
        process = start(function, *options)
        out, err = process.communicate(timeout=120 * harness.SLOW)
        assert not list(tmp_path.glob("drover-run-*")), "nothing is left behind"
        return process.returncode, out, err

    finish.start, finish.folder = start, folder
    return finish


def test_result_on_stdout_log_on_stderr(run):
    code, out, err = run("run", "--input", '{"name": "Ada"}')
    assert code == 0 and json.loads(out) == {"text": "Hello, Ada!"}
    assert "INFO     greeting Ada" in err and "WARNING  careful" in err and "ERROR    on stderr" in err
    code, out, _ = run("run", "--input", '{"name": "Ada"}', "--init", '{"greeting": "Moin"}')
    assert json.loads(out) == {"text": "Moin, Ada!"}


def test_failures(run):
    code, out, err = run("fail")
    assert code == 6 and not out and "ValueError: no luck" in err
    code, _, err = run("leave")
    assert code == 6 and "exit code 9" in err
    code, _, err = run("large")
    assert code == 6 and "--max-output" in err
    code, _, err = run("nap", "--input", '{"seconds": 60}', "--timeout", "5s")
    assert code == 6 and "longer than 5 s" in err


def test_what_is_wrong_before_it_runs(run):
    code, _, err = run("nope")
    assert code == 3 and "it has: run, fail" in err
    assert run("run", "--input", "[1]")[0] == 2
    assert run("run", "--input", "{")[0] == 2
    assert "cannot start /nope" in run("run", "--python", "/nope")[2]
    (run.folder / "main.py").write_text("import nothing_like_it\nclass ServiceRunner:\n    def run(self): pass\n")
    code, _, err = run("run")
    assert code == 2 and "nothing_like_it" in err


def test_clean_surroundings(run):
    code, out, _ = run("where")
    where = json.loads(out)
    assert code == 0 and where["cwd"] == str(run.folder) and where["key"] is None
    assert "drover-run-" in where["home"]


def test_dataloop_json(run):
    (run.folder / "other.py").write_text("class Other:\n    def go(self, x):\n        return x\n")
    (run.folder / "dataloop.json").write_text(json.dumps({
        "name": "two", "modules": [{"name": "m", "entryPoint": "other.py", "className": "Other", "functions": [
            {"name": "go", "inputs": [{"name": "x", "type": "Json"}]}]}],
        "services": [{"name": "s", "executionTimeout": 1}]}))
    assert run("go", "-i", '{"x": [1, 2.50]}')[:2] == (0, "[1,2.5]\n")
    assert run("go", "-i", "@" + str(run.folder / "dataloop.json"))[0] == 6, "unknown inputs are the function's failure"
    assert run("go", "--service", "none")[0] == 3


def test_a_service_with_processes(run):
    """runExecutionAsProcess: in the main thread of a process of its own, as an agent's executions are."""
    (run.folder / "main.py").write_text(textwrap.dedent("""
        import os, threading
        class ServiceRunner:
            def main(self):
                return threading.current_thread() is threading.main_thread()
            def leave(self):
                os._exit(9)
    """))
    (run.folder / "dataloop.json").write_text(json.dumps({
        "name": "p", "services": [{"name": "threads"}, {"name": "processes", "runExecutionAsProcess": True}]}))
    assert run("main", "--service", "processes")[:2] == (0, "true\n")
    assert run("main", "--service", "threads")[:2] == (0, "false\n")
    code, _, err = run("leave", "--service", "processes")
    assert code == 6 and "the execution's process ended: exit code 9" in err


@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer's memory is none of a function's")
def test_memory_limit(run):
    code, _, err = run("eat", "-i", '{"mib": 2500}', "--pod-type", "regular-xs")
    if "not enforced" in err:
        pytest.skip("this machine has no writable cgroup")
    assert code == 6 and "more memory than regular-xs has (1740 MiB)" in err


def test_ctrl_c_asks_the_function_to_end(run):
    (run.folder / "main.py").write_text(textwrap.dedent(POLITE))
    process = run.start("polite", start_new_session=True)
    while "running" not in process.stderr.readline():
        pass
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30 * harness.SLOW)
    assert process.returncode == 130 and not out and "terminated" in err


def test_sigterm_leaves_nothing_behind(run):
    """Also when only the program itself is told, as by a service manager."""
    (run.folder / "main.py").write_text(textwrap.dedent(POLITE))
    process = run.start("polite", start_new_session=True)
    while "running" not in process.stderr.readline():
        pass
    assert list(run.folder.parent.glob("drover-run-*"))
    process.terminate()
    out, err = process.communicate(timeout=30 * harness.SLOW)
    assert process.returncode == 130 and not out and "terminated" in err
    assert not list(run.folder.parent.glob("drover-run-*"))


def test_ctrl_c_twice_kills_it(run):
    process = run.start("nap", "-i", '{"seconds": 600}', start_new_session=True)
    while "napping" not in process.stderr.readline():
        pass
    os.killpg(process.pid, signal.SIGINT)
    while "once more" not in process.stderr.readline():
        pass
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30 * harness.SLOW)
    assert process.returncode == 130


def test_requirements_are_installed(run):
    (run.folder / "dataloop.json").write_text(json.dumps({
        "name": "needs", "requirements": [{"name": "no-such-package-of-drover-tests", "version": "1.0"}]}))
    code, out, err = run("run", "-i", '{"name": "Ada"}', "--no-install")
    assert code == 0, err
    env_fails = run("run", "-i", '{"name": "Ada"}')
    assert env_fails[0] == 1 and "no-such-package-of-drover-tests" in env_fails[2]
