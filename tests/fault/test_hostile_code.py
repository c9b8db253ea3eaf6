# SPDX-License-Identifier: Apache-2.0
"""User code that breaks, floods, forges and leaves things behind. Each time: the execution ends with the
exact reason, the service runs the next one, its neighbour notices nothing, and when the service has been
deleted nothing of it is left (processes, folders, cgroups, mounts)."""
import contextlib
import os
import pathlib
import re
import time

import pytest

import harness
from faults import LONG

PRINTED = 10_000_000_000 if LONG else 200_000_000
RETURNED = 1_000_000_000 if LONG else 100_000_000
KEEP_LOGS_MIB = 64

CODE = """
    import ctypes, io, os, resource, shutil, signal, socket, stat, struct, subprocess, sys, threading, time

    def channels():
        # The descriptors that are sockets: the runner's channel to its agent is one of them.
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    found.append(int(name))
            except OSError:
                pass
        return found

    def frame(text):
        return struct.pack(">I", len(text)) + text

    loaded = os.getpid()

    class ServiceRunner:
        def image(self):
            return loaded

        def hello(self):
            print("hello")
            return "hello"

        def pid(self):
            return os.getpid()

        def ignore(self):
            subprocess.Popen([sys.executable, "-c",
                              "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"])
            while True:
                time.sleep(1)

        def daemon(self, note):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    with open(note, "w") as file:
                        file.write(str(os.getpid()))
                    while True:
                        time.sleep(3600)
                os._exit(0)
            return "started"

        def close(self):
            for number in channels():
                os.close(number)
            return "closed"

        def close_all(self):
            os.closerange(0, 4096)
            return "closed"

        def garbage(self):
            for number in channels():
                os.write(number, b"\\xff" * 65536)
            time.sleep(3600)

        def nonsense(self):
            for number in channels():
                try:
                    os.write(number, frame(b"{nonsense"))
                except OSError:
                    pass  # nobody reads that one
            time.sleep(3600)

        def forge(self, other):
            # The result of an execution of another service, and one of this service that nobody asked for.
            forged = (b'{"t":"result","id":"%s","fence":%d,"status":"success","output":"forged","startedAt":1,'
                      b'"endedAt":2}' % (other.encode(), fence) for fence in range(1 << 32, (1 << 32) + 300))
            frames = b"".join(map(frame, forged)) + frame(b'{"t":"unheard","of":1}')
            for number in channels():
                os.write(number, frames)
            return "forged"

        def flood(self, size):
            line = "x" * 9999
            for _ in range(size // 10000):
                print(line)
            return "said"

        def flood_below(self, size):
            line = b"y" * 9999 + b"\\n"
            for _ in range(size // 10000):
                os.write(1, line)
            return "said"

        def endless_line(self, size):
            for _ in range(size // 65536):
                os.write(2, b"z" * 65536)
            return "said"

        def huge(self, size):
            return "h" * size

        def recurse(self):
            return self.recurse()

        def overflow(self):
            kind = ctypes.CFUNCTYPE(ctypes.c_int)
            def deeper():
                return again()
            again = kind(deeper)
            sys.setrecursionlimit(1 << 30)
            return again()

        def deadlock(self):
            first, second = threading.Lock(), threading.Lock()
            def take(one, other):
                with one:
                    time.sleep(0.1)
                    with other:
                        pass
            pair = [threading.Thread(target=take, args=order) for order in ((first, second), (second, first))]
            for thread in pair:
                thread.start()
            for thread in pair:
                thread.join()

        def remove(self):
            shutil.rmtree(os.path.dirname(os.path.abspath(__file__)))
            return "removed"

        def leave(self, code):
            os._exit(code)

        def system_exit(self):
            raise SystemExit("I am done")

        def interrupt(self):
            raise KeyboardInterrupt("enough")

        def replace(self):
            sys.stdout.close()
            sys.stdout, sys.stderr, sys.stdin = io.StringIO(), None, None
            sys.excepthook = threading.excepthook = None
            libc = ctypes.CDLL(None)
            for number in range(1, 65):
                libc.signal(number, ctypes.c_void_p(1))  # SIG_IGN, behind Python's back
            return "replaced"

        def bomb(self, count):
            made = 0
            for _ in range(count):
                try:
                    if os.fork() == 0:
                        time.sleep(3600)
                        os._exit(0)
                    made += 1
                except OSError as error:
                    raise RuntimeError("no more: " + str(error))
            return made

        def allocate_limited(self):
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
            self.allocate()

        def allocate(self):
            kept = []
            while True:
                kept.append(bytearray(b"m" * (64 << 20)))
"""
FUNCTIONS = {name: {} for name in re.findall(r"def (\w+)\(self\)", CODE)}
FUNCTIONS |= {"daemon": {"note": "String"}, "forge": {"other": "String"}, "leave": {"code": "Integer"},
              "bomb": {"count": "Integer"}}
FUNCTIONS |= {name: {"size": "Integer"} for name in ("flood", "flood_below", "endless_line", "huge")}


class Place:
    """A server with a neighbour on it, and hostile services that come and go."""

    def __init__(self, server):
        self.server = server
        self.api = harness.Api(server, (server.data / "admin-key").read_text().strip())
        self.project = self.api.post("/projects", {"name": "hostile"})["id"]
        self.neighbour = harness.deploy_plain(self.api, self.project, "neighbour", CODE, FUNCTIONS)["id"]
        self.api.ready(self.neighbour)
        self.pid = self.api.run(self.neighbour, "pid")["output"]
        self.package = harness.push_plain(self.api, self.project, "hostile", CODE, FUNCTIONS)["id"]
        self.made, self.replicas = 0, set()

    def traces(self):
        """What a service could leave behind: processes, replicas' folders, cgroups, mounts."""
        folders = {path.name for path in (self.server.data / "run").iterdir()}
        self.replicas |= folders
        cgroups = {f"{folder}/{name}" for folder, names, _ in os.walk("/sys/fs/cgroup") for name in names
                   if name.rpartition("drover-")[2] in self.replicas}
        processes = {int(line.split(":")[0]) for line in self.server.processes()}
        mounts = {line for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()
                  if str(self.server.folder) in line}
        return processes | folders | mounts | cgroups

    @contextlib.contextmanager
    def service(self, alone=True, **settings):
        """One of such services, ready; afterwards it has to work, and is deleted without a trace. alone:
        no other is made or deleted meanwhile."""
        before = self.traces()
        self.made += 1
        body = {"name": f"hostile-{self.made}", "projectId": self.project, "packageId": self.package,
                "versions": {"dtlpy": "none"}, "runtime": {"concurrency": 2}, "onReset": "failed",
                "executionTimeout": 60, "drainTime": 1}
        service = self.api.post("/services", {**body, **settings})["id"]
        try:
            self.api.ready(service)
            self.traces()  # so that the replicas are known
            yield service
            assert self.api.run(service, "hello")["output"] == "hello", "the next one of the service"
            assert self.api.run(self.neighbour, "pid")["output"] == self.pid, "the neighbour's runner lives"
        finally:
            self.api.delete(f"/services/{service}")
        harness.wait_for("nothing of it is left", lambda: not alone or self.traces() <= before, 30, 0.2)
        assert self.server.starts == 1 and self.server.process.poll() is None

    def lines(self, execution):
        page = self.api.post("/services/logs", {"executionId": [execution], "size": 1000})
        return [line["message"] for line in page["logs"]]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    options = {"lease": "10s", "keep-logs-mib": str(KEEP_LOGS_MIB), "collect": "1s", "backoff-first": "50ms"}
    server = harness.Server(tmp_path_factory.mktemp("hostile"), **options).start()
    yield Place(server)
    problems = server.close() + server.complaints()
    assert not problems, "\n".join(problems)


TIMEOUT = r"timeout: the execution ran longer than 1 s \(executionTimeout\)"
ENDS = [  # function, input, further settings, what the error says
    ("ignore", {}, {"executionTimeout": 1}, TIMEOUT),
    ("deadlock", {}, {"executionTimeout": 1}, TIMEOUT),
    ("close", {}, {}, r"the runner ended: .*"),
    ("close_all", {}, {}, r"the runner ended: .*"),
    ("garbage", {}, {}, r"the runner ended: .*frame"),
    ("nonsense", {}, {}, r"the runner ended: .*JSON"),
    ("huge", {"size": RETURNED}, {"runtime": {"concurrency": 2, "podType": "regular-l"}}, r"output .*--max-output"),
    ("recurse", {}, {}, r"maximum recursion depth exceeded"),
    ("overflow", {}, {}, r"the runner ended: .*signal 11"),
    ("leave", {"code": 0}, {}, r"the runner ended: .*0"),
    ("leave", {"code": 3}, {}, r"the runner ended: .*3"),
    ("system_exit", {}, {}, r"I am done"),
    ("interrupt", {}, {}, r"enough"),
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("function, given, settings, says", ENDS)
def test_it_fails_with_the_reason(place, function, given, settings, says):
    with place.service(**settings) as service:
        execution = place.api.run(service, function, given, seconds=600)
        told = execution["latestStatus"]
        print(f"\n    {function}: {told['status']}: {told['error']['type']}: {told['error']['message'][:200]}")
        assert told["status"] == "failed" and re.search(says, told["error"]["message"]), told
        kinds = {"huge": "OutputTooLarge", "recurse": "RecursionError", "system_exit": "SystemExit",
                 "interrupt": "KeyboardInterrupt", "ignore": "TimeoutError"}
        assert told["error"]["type"] == kinds.get(function, told["error"]["type"])
        assert execution["attempts"] == 1


def test_one_that_ignores_its_termination(place):
    with place.service() as service:
        identity = place.api.execute(service, "ignore")["id"]
        harness.wait_for("it runs", lambda: place.api.status_of(identity) == "in-progress")
        place.api.post(f"/executions/{identity}/terminate")
        told = place.api.finished(identity)["latestStatus"]
        assert told["status"] == "terminated" and "did not end within 1 s (drainTime)" in str(told), told


def test_a_daemon_goes_with_its_service(place, tmp_path):
    with place.service() as service:
        assert place.api.run(service, "daemon", {"note": str(tmp_path / "pid")})["output"] == "started"
        harness.wait_for("it notes its id", lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        daemon = pathlib.Path("/proc") / (tmp_path / "pid").read_text()
        assert daemon.exists()
        assert place.api.run(service, "leave", {"code": 1})["latestStatus"]["status"] == "failed"
    assert not daemon.exists(), "the daemon outlived its service"


def test_forged_results_are_ignored(place):
    """Of another service's execution, which runs on another agent, no agent takes a result."""
    with place.service() as service, place.service(alone=False) as other:
        victim = place.api.execute(other, "ignore")["id"]
        harness.wait_for("it runs", lambda: place.api.status_of(victim) == "in-progress")
        execution = place.api.run(service, "forge", {"other": victim})
        assert execution["latestStatus"]["status"] == "success" and execution["output"] == "forged", execution["latestStatus"]
        assert place.api.status_of(victim) == "in-progress"
        place.api.post(f"/executions/{victim}/terminate")
        ended = place.api.finished(victim)
        assert ended["latestStatus"]["status"] == "terminated" and ended.get("output") is None


def size_of(folder):
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("function", ["flood", "flood_below", "endless_line"])
def test_a_flood_of_output(place, function):
    """It takes bounded disk and memory, and others' lines go on."""
    logs, most, waited = place.server.data / "logs", 0, 0
    with place.service(executionTimeout=3000) as service:
        identity = place.api.execute(service, function, {"size": PRINTED})["id"]
        while place.api.status_of(identity) not in harness.FINAL:
            began = time.monotonic()
            other = place.api.run(place.neighbour, "hello")["id"]
            harness.wait_for("its line is there", lambda one=other: "hello" in place.lines(one), 30)
            waited = max(waited, time.monotonic() - began)
            most = max(most, size_of(logs))
        told = place.api.execution(identity)
        assert told["latestStatus"]["status"] == "success" and told["output"] == "said", told["latestStatus"]
        harness.wait_for("the logs take what they may", lambda: size_of(logs) < (KEEP_LOGS_MIB << 20) * 5 // 4, 60, 0.5)
    print(f"\n    {function} of {PRINTED >> 20} MiB: logs took at most {most >> 20} MiB of {KEEP_LOGS_MIB}, server "
          f"{place.server.memory_peak() >> 10} MiB, a neighbour's line took at most {waited:.1f} s")
    assert most < (KEEP_LOGS_MIB << 20) * 4, "the disk is not bounded"


def test_it_removes_its_own_code(place):
    """The runner that has it in memory goes on; so do new ones, and other services of the same package."""
    with place.service() as service, place.service(alone=False) as other:
        assert place.api.run(service, "remove")["output"] == "removed"
        assert place.api.run(service, "leave", {"code": 1})["latestStatus"]["status"] == "failed"
        assert place.api.run(service, "hello")["output"] == "hello"
        assert place.api.run(other, "leave", {"code": 1})["latestStatus"]["status"] == "failed"
        assert place.api.run(other, "hello")["output"] == "hello"


def test_it_replaces_the_streams(place):
    with place.service() as service:
        assert place.api.run(service, "replace")["output"] == "replaced"


def test_a_small_fork_bomb(place):
    with place.service() as service:
        assert place.api.run(service, "bomb", {"count": 300})["output"] == 300


def enforced():
    """Whether memory limits can be enforced here: a cgroup of our own that can be written."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return pathlib.Path(f"/sys/fs/cgroup/memory{path}/cgroup.procs").exists()
    return False


@pytest.mark.skipif(not enforced(), reason="no memory cgroup (v1) to write here")
@pytest.mark.timeout(300)
def test_more_memory_than_its_type_has(place):
    with place.service(runtime={"podType": "regular-xs", "concurrency": 1}) as service:
        told = place.api.run(service, "allocate", seconds=120)["latestStatus"]
        print(f"\n    {told['error']['message'][:300]}")
        assert told["status"] == "failed" and "more memory than its" in told["error"]["message"], told
