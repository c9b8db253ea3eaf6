# SPDX-License-Identifier: Apache-2.0
"""The platform under measurement: a server of its own for each workload, on a free port, with its data
on a disk. Nothing of an earlier workload is left in it."""
import contextlib
import http.client
import os
import pathlib
import shutil
import sqlite3
import tempfile
import time

import harness
from support import process
from support.programs import Failed, http_load

CODE = """
class ServiceRunner:
    def run(self, n):
        return n

    def talk(self, lines):
        for number in range(lines):
            print("line %d of some length, as functions write them: item 65a0000000000000000000cc" % number)
        return lines

    def nap(self, seconds):
        import time
        time.sleep(seconds)
        return seconds
"""
FUNCTIONS = {"run": {"n": "Json"}, "talk": {"lines": "Integer"}, "nap": {"seconds": "Number"}}
ONE = '{"functionName":"run","input":{"n":1}}'


class Server(harness.Server):
    """With an environment of its own; without what tests set to see faults sooner."""

    def __init__(self, folder, environment=None, **options):
        super().__init__(folder)
        self.options = {"log-level": "warn", **{name.replace("_", "-"): str(value) for name, value in options.items()}}
        self.extra = environment or {}

    def environment(self):
        return dict(super().environment(), **self.extra)


class Platform:
    def __init__(self, folder, environment=None, calm=1.0, **options):
        self.calm = calm  # seconds without work that count as quiet
        self.server = Server(folder, environment, **options)
        self.server.start()
        self.token = (self.server.data / "admin-key").read_text().strip()
        self.api = harness.Api(self.server, self.token)
        self.serial = 0
        self.made_project = self.made_package = None

    @property
    def project(self):
        if not self.made_project:
            self.made_project = self.api.post("/projects", {"name": "bench"})
        return self.made_project["id"]

    @property
    def package(self):
        if not self.made_package:
            self.made_package = harness.push_plain(self.api, self.project, "bench", CODE, FUNCTIONS)
        return self.made_package["id"]

    @property
    def pid(self):
        return self.server.process.pid

    def create(self, **settings):
        """A service of the one package; not waited for. Gives its id."""
        self.serial += 1
        body = {"name": f"bench-{self.serial}", "projectId": self.project, "packageId": self.package,
                "versions": {"dtlpy": "none"}, "runtime": {"concurrency": 10}}
        return self.api.post("/services", {**body, **settings})["id"]

    def deploy(self, replicas=1, **settings):
        """Such a service whose agents are ready."""
        settings.setdefault("runtime", {"concurrency": 10, "numReplicas": replicas})
        service = self.create(**settings)
        self.ready(service, replicas)
        return service

    def ready(self, service, replicas=1, seconds=180):
        end = time.monotonic() + seconds
        while True:
            status = self.api.get(f"/services/{service}/status")
            if status["replicasReady"] >= replicas:
                return
            broken = [one for one in status["runtimeStatus"] if one["reason"] == "CrashLoopBackOff"]
            if broken or time.monotonic() > end:
                raise Failed(f"{status['replicasReady']} of {replicas} agents are ready after {seconds} s; "
                             f"{broken[0]['message'] if broken else self.server.tail(5)}")
            time.sleep(0.05)

    def roots(self):
        """The server and its agents' supervisors: with their descendants, all processes of the platform."""
        return {self.pid} | {one["pid"] for one in self.server.supervisors().values()}

    def counts(self, service=None):
        """(ended, all) executions."""
        counts = self.api.get("/executions/counters" + (f"?serviceId={service}" if service else ""))
        return sum(counts.get(status, 0) for status in harness.FINAL), sum(counts.values())

    def metric(self, name):
        """The sum of a metric over its labels."""
        total = 0.0
        for line in self.api.call("GET", "/metrics").text.splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                total += float(line.rpartition(" ")[2])
        return total

    def ended(self):
        """Results recorded since the server started, from its metrics: costs it next to nothing."""
        return int(self.metric("drover_results_recorded_total"))

    def wait_ended(self, count, seconds=600):
        """Waits until so many results are recorded since the start."""
        start = moved = time.monotonic()
        first = last = self.ended()
        while last < count:
            rate = (last - first) / max(time.monotonic() - start, 0.001)
            time.sleep(min(max((count - last) / max(rate, 1) / 2, 0.002), 0.25))  # looks seldom: looking costs too
            if (found := self.ended()) > last:
                last, moved = found, time.monotonic()
            if time.monotonic() > min(start + seconds, moved + 60):
                raise Failed(f"{last} of {count} executions have ended, and no more do")

    def quiet(self, seconds=60):
        """Waits until the platform does nothing: under 3 % of a core for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            cpu = process.Cpu(self.roots())
            time.sleep(self.calm)
            if cpu.percent() < 3:
                return
        raise Failed(f"the platform is not quiet after {seconds} s without work")

    def load(self, service, body=ONE, path="", **how):
        return http_load(self.server.port, f"/api/v1/executions/{service}{path}", body, token=self.token, **how)

    def fill(self, service, count, batch=1000):
        """Creates executions by arrays."""
        arrays, rest = divmod(count, batch)
        if arrays:
            self.load(service, array(batch), connections=4, count=arrays)
        if rest:
            self.load(service, array(rest), connections=1, count=1)

    def checkpoint(self):
        """Writes the write-ahead log into the database and that to the disk, so that what follows does not pay for
        what went before."""
        with contextlib.suppress(sqlite3.Error), \
                contextlib.closing(sqlite3.connect(self.server.data / "drover.db", timeout=10)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        os.sync()

    def restart(self, kill):
        """Ends the server (kill: with SIGKILL) and starts it again. Gives (seconds to end, seconds until ready)."""
        start = time.monotonic()
        if kill:
            self.server.kill()
        else:
            self.server.process.terminate()
            if self.server.process.wait(120):
                raise Failed(f"the server ended with {self.server.process.returncode}:\n{self.server.tail(5)}")
        ended = time.monotonic()
        self.server.spawn()
        while not self.answers():
            if time.monotonic() > ended + 300:
                raise Failed(f"the server is not ready after 300 s:\n{self.server.tail(5)}")
            time.sleep(0.002)
        return ended - start, time.monotonic() - ended

    def answers(self):
        """Whether it says that it is ready; cheaper and finer than what tests need."""
        if self.server.process.poll() is not None:
            raise Failed(f"the server ended with {self.server.process.returncode}:\n{self.server.tail(5)}")
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def close(self):
        return self.server.close()


def array(count):
    return "[" + ",".join([ONE] * count) + "]"


class Context:
    """What a workload gets: sizes, a place for its data, a way to say what it does."""

    def __init__(self, folder, sizes, say):
        self.folder, self.sizes, self.say = pathlib.Path(folder), sizes, say
        self.problems = []

    @contextlib.contextmanager
    def platform(self, environment=None, **options):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="d", dir=self.folder))
        platform = Platform(folder, environment, min(1.0, self.sizes.seconds), **options)
        try:
            yield platform
        except harness.requests.RequestException as error:
            raise Failed(f"{error}; the server's log ends:\n{platform.server.tail(5)}") from error
        finally:
            self.problems += platform.close()
            self.problems += platform.server.complaints()
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def scratch(self):
        folder = tempfile.mkdtemp(prefix="s", dir=self.folder)
        try:
            yield pathlib.Path(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

