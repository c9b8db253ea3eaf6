# SPDX-License-Identifier: Apache-2.0
"""One server, and the `drover` of the build as a user runs it: with a home of its own, in a pipe or
on a terminal (pty)."""
import dataclasses
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
import uuid

import pytest

import harness

DROVER = str(harness.BUILD / "drover")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

CODE = '''
import logging
import time


class ServiceRunner:
    def run(self, name: str = "nobody"):
        logging.getLogger("x").info("greeting %s", name)
        return {"text": f"Hello, {name}!"}

    def count(self, to: int):
        for number in range(1, to + 1):
            print("counted", number, flush=True)
            time.sleep(0.05)
        return to

    def burst(self, lines: int, then: float = 0):
        print("\\n".join(f"line {number}" for number in range(lines)), flush=True)
        time.sleep(then)
        print("after", flush=True)

    def fail(self, text: str):
        raise ValueError(text)

    def echo(self, value):
        return value
'''


@dataclasses.dataclass
class Run:
    """What a run of drover gave: its exit code, stdout and stderr (on a terminal both in out)."""
    code: int
    out: str
    err: str = ""

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def plain(self):
        return ESCAPES.sub("", self.out).replace("\r", "")


class Terminal:
    """drover on a pseudo-terminal of that size."""

    def __init__(self, command, environment, folder, columns=100, rows=30):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

        def become_session():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=folder,
                                        preexec_fn=become_session)
        os.close(slave)
        self.master = master
        self.text = ""

    def read(self, seconds):
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                return False
        return True

    def wait_for(self, pattern, seconds=20):
        end = time.monotonic() + seconds * harness.SLOW
        while not re.search(pattern, ESCAPES.sub("", self.text)):
            assert self.read(0.1), f"ended without {pattern!r}: {self.text}"
            assert time.monotonic() < end, f"no {pattern!r} in {self.text!r}"
        return self

    def type(self, text):
        os.write(self.master, text.encode())
        return self

    def finish(self, seconds=30):
        end = time.monotonic() + seconds * harness.SLOW
        while self.process.poll() is None:
            self.read(0.05)
            assert time.monotonic() < end, f"does not end: {self.text!r}"
        while select.select([self.master], [], [], 0)[0] and self.read(0):
            pass
        os.close(self.master)
        return Run(self.process.returncode, self.text)


class Cli:
    def __init__(self, folder, url=None, key=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("DROVER_", "XDG_")) and name != "NO_COLOR"}
        self.environment.update(HOME=str(self.folder / "home"), TERM="xterm-256color", LANG="C.UTF-8",
                                PATH=f"{harness.BUILD}:{os.environ['PATH']}")
        (self.folder / "home").mkdir(exist_ok=True)
        if url:
            self.environment.update(DROVER_URL=url, DROVER_API_KEY=key)

    def __call__(self, *arguments, given=None, env=None, cwd=None, timeout=120):
        made = subprocess.run([DROVER, *map(str, arguments)], input=given, capture_output=True, text=True,
                              env=dict(self.environment, **(env or {})), cwd=cwd or self.folder,
                              stdin=subprocess.DEVNULL if given is None else None, timeout=timeout * harness.SLOW)
        return Run(made.returncode, made.stdout, made.stderr)

    def good(self, *arguments, **more):
        run = self(*arguments, **more)
        assert run.code == 0, f"drover {arguments}: {run}"
        return run

    def bad(self, code, *arguments, **more):
        """A run that must fail so; what it says on stderr."""
        run = self(*arguments, **more)
        assert run.code == code, f"drover {arguments}: {run}"
        assert run.err.strip(), f"drover {arguments} failed without a word"
        return run.err

    def terminal(self, *arguments, env=None, **more):
        return Terminal([DROVER, *map(str, arguments)], dict(self.environment, **(env or {})), self.folder, **more)

    def start(self, *arguments):
        return subprocess.Popen([DROVER, *map(str, arguments)], env=self.environment, cwd=self.folder, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def shell(self, line):
        made = subprocess.run(["bash", "-c", line], env=self.environment, cwd=self.folder, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120 * harness.SLOW)
        return Run(made.returncode, made.stdout, made.stderr)


@pytest.fixture(scope="session")
def home():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="drover-cli-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(home):
    server = harness.Server(home / "server", login_tries="1000").start()
    yield server
    problems = server.close() + server.complaints()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def admin_key(server):
    return (server.data / "admin-key").read_text().strip()


@pytest.fixture(scope="session")
def api(server, admin_key):
    return harness.Api(server, admin_key)


@pytest.fixture(scope="session")
def project(api):
    return api.post("/projects", {"name": "main"})["id"]


@pytest.fixture
def cli(tmp_path, server, admin_key, project):
    """drover as the administrator, in the project `main`."""
    made = Cli(tmp_path / "user", server.url, admin_key)
    made.environment["DROVER_PROJECT"] = "main"
    return made


@pytest.fixture
def stranger(tmp_path):
    """drover that knows no server."""
    return Cli(tmp_path / "stranger")


@pytest.fixture
def unique():
    return lambda prefix="t": f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def service(home, server, admin_key, project):
    """The service `hello` of CODE, deployed by drover itself; its name."""
    cli = Cli(home / "deployer", server.url, admin_key)
    folder = cli.folder / "hello"
    folder.mkdir()
    (folder / "main.py").write_text(CODE)
    cli.good("deploy", "hello", "-p", "main")
    return "hello"


def told(api, service, kind="DiskFull", message="no space left"):
    """Raises a notification of the service; its id."""
    identity = api.get("/services", params={"name": service})["items"][0]["id"]
    api.post(f"/services/{identity}/notify", {"action": "created", "notificationName": kind, "message": message})
    return api.get("/notifications", params={"entityId": identity, "type": kind})["items"][0]["id"]


@pytest.fixture
def interrupt():
    """interrupt(process): what Ctrl-C does; (exit code, stdout, stderr)."""
    def send(process):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30 * harness.SLOW)
        return process.returncode, out, err
    return send
