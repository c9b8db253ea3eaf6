# SPDX-License-Identifier: Apache-2.0
"""drover up, events, why, rollout: as somebody at a terminal uses them."""
import json
import os
import signal
import socket
import subprocess

import pytest

import harness

HELLO = harness.ROOT / "examples" / "hello"


class Folder:
    """A folder in which somebody works: a server's data lies in it."""

    def __init__(self, path):
        self.path, self.data = path, path / "drover-data"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
        self.env.update(XDG_CONFIG_HOME=str(path / "config"))

    def start(self, *arguments, **more):
        return subprocess.Popen([str(harness.BUILD / "drover"), *map(str, arguments)], env=self.env, cwd=self.path,
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def drover(self, *arguments, code=0):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120 * harness.SLOW)
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{out}\n{err}"
        return out if code == 0 else err

    def stop_agents(self):
        for record in (self.data / "run").glob("*/supervisor.json"):
            try:
                os.kill(json.loads(record.read_text())["pid"], signal.SIGUSR1)
            except ProcessLookupError:
                pass


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    folder = Folder(tmp_path_factory.mktemp("up"))
    process = folder.start("up", "--listen", f"127.0.0.1:{harness.free_port()}")
    said = []
    while "Ctrl-C stops" not in (said[-1] if said else ""):
        said.append(process.stderr.readline())
        assert said[-1], "".join(said)
    folder.process, folder.said = process, "".join(said)
    yield folder
    if process.poll() is None:
        process.terminate()
        process.communicate(timeout=30)
    folder.stop_agents()


def test_up_shows_an_execution_and_what_is_next(up):
    assert "$ drover exec hello run" in up.said and "drover init mine" in up.said
    assert json.loads(up.drover("exec", "hello", "run", "name=Bob", "--wait")) == {"text": "Hello, Bob!"}
    again = up.drover("up", "--no-example")
    assert again == "" and up.process.poll() is None, "a server that runs is used"


def test_events(up):
    assert "AgentReady" in up.drover("events", "hello") and "Deployed" in up.drover("events")
    lines = [json.loads(line) for line in up.drover("events", "hello", "-o", "jsonl").splitlines()]
    assert lines[0]["lastAt"] >= lines[-1]["lastAt"]
    for record in (up.data / "run").glob("*/supervisor.json"):
        os.kill(json.loads(record.read_text())["agentPid"], signal.SIGKILL)
    harness.wait_for("it is noticed", lambda: "AgentKilled" in up.drover("events", "hello", "--level", "warning"))
    warnings = [json.loads(line) for line in up.drover("events", "hello", "--level", "warning", "-o", "jsonl").splitlines()]
    assert {one["level"] for one in warnings} <= {"warning", "error"} and "info" in {one["level"] for one in lines}
    assert "never ends" in up.drover("events", "-f", "-o", "json", code=2)
    assert "no service" in up.drover("events", "helo", code=3).lower()
    follower = up.start("events", "hello", "-f")
    assert "Deployed" in follower.stdout.readline(), "oldest first"
    up.drover("pause", "hello")
    while "Paused" not in follower.stdout.readline():
        pass
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=30)
    assert follower.returncode == 130
    up.drover("resume", "hello")


def test_why(up):
    identity = up.drover("exec", "hello", "run", "name=Ada", "-o", "name").strip()
    harness.wait_for("it ends", lambda: "ended with success" in up.drover("why", identity))
    assert "Agent" in up.drover("why", "hello")
    assert json.loads(up.drover("why", "hello", "-o", "json"))["status"] == "active"
    assert "no execution and no service" in up.drover("why", "0123456789abcdef01234567", code=3)


def test_rollout(up):
    up.drover("rollout", "status", "hello", "--watch", "--timeout", "60s")
    up.drover("deploy", HELLO, "--concurrency", "3")
    assert "complete" in up.drover("rollout", "status", "hello", "--watch")
    history = up.drover("rollout", "history", "hello")
    assert "runtime" in history and "1.0.1" in history
    up.drover("rollout", "undo", "hello", "--watch")
    assert json.loads(up.drover("rollout", "status", "hello", "-o", "json"))["revision"] == "1.0.2"
    assert "9.9.9" in up.drover("rollout", "undo", "hello", "--to", "9.9.9", code=3)


def test_up_on_a_port_that_is_taken(cli):
    """What the server says has a line of its own, on a terminal too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli.terminal("up", "--data", "d", "--listen", f"127.0.0.1:{taken.getsockname()[1]}").finish()
    assert done.code != 0
    lines = [line for line in done.plain.splitlines() if "in use" in line]
    assert lines and all(line.startswith("drover server: ") for line in lines), done.plain


def test_ctrl_c_stops_the_server(up):
    up.process.send_signal(signal.SIGINT)
    up.process.communicate(timeout=60)
    assert up.process.returncode == 0
    up.drover("services", code=5)
