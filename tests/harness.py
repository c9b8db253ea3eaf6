# SPDX-License-Identifier: Apache-2.0
"""A `drover server` of a test's own: started on a free port with a data folder in a temporary
place, watched, killed, started again, and cleaned up with every agent that it left."""
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("DROVER_BUILD", ROOT / "build"))
CACHE = pathlib.Path(os.environ.get("DROVER_CACHE_HOME", pathlib.Path.home() / ".cache" / "drover"))
SEED = int(os.environ.get("DROVER_TEST_SEED", "20261123"))
SANITIZED = "asan" in BUILD.name or "tsan" in BUILD.name
SLOW = 6 if "tsan" in BUILD.name else 3 if "asan" in BUILD.name else 1  # how much more time things get

FINAL = {"success", "failed", "terminated", "aborted", "canceled", "system-failure"}
SANITIZER = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error: ")
FAST = {"lease": "3s", "backoff-first": "200ms", "backoff-max": "2s", "log-format": "json", "collect": "5s"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, check, seconds=30.0, step=0.05):
    """Calls check until it gives something true, and returns that. `what` goes into the complaint."""
    end = time.monotonic() + seconds * SLOW
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds * SLOW:.0f} s")
        time.sleep(step)


def milliseconds(text):
    """A time of the API (2026-11-26T03:21:41.123Z) as ms since 1970."""
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


class Server:
    def __init__(self, folder, **options):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = dict(FAST, **{name.replace("_", "-"): value for name, value in options.items()})
        self.process = None
        self.starts = 0

    # ── the process ──────────────────────────────────────────────────────────────────────────

    def spawn(self):
        """Starts the process and does not wait for it."""
        command = [str(BUILD / "drover"), "server", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}",
                   "--cache", str(CACHE / "agents"), "--python", sys.executable]
        for name, value in self.options.items():
            command += [f"--{name}", value]
        with self.log.open("ab") as log, (self.folder / "server.out").open("ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                            env=self.environment(), cwd=self.folder)
        self.starts += 1

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
        try:
            return requests.get(self.url + "/readyz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def start(self):
        self.spawn()
        wait_for("the server gets ready", self.is_ready, 30)
        return self

    def environment(self):
        """Sanitizers write what they find to files, one a process, that `complaints` reads."""
        where = f"log_path={self.folder}/sanitizer"
        extra = {name: f"{os.environ.get(name, '')}:{where}".lstrip(":")
                 for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")}
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("DROVER_", "DTLPY_"))}
        if SANITIZED:  # LeakSanitizer attaches to the process at its end
            extra["DROVER_CORE_DUMPS"] = "true"
        return dict(plain, **extra)

    def stop(self):
        """As an administrator would; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30 * SLOW)

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def restart(self):
        if self.process.poll() is None:
            self.stop()
        return self.start()

    def memory_peak(self):
        """The most memory that the server has used, in KiB."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1])

    # ── its agents ───────────────────────────────────────────────────────────────────────────

    def supervisors(self):
        """What each living replica's folder says of its processes, by replica id."""
        found = {}
        for record in (self.data / "run").glob("*/supervisor.json"):
            try:
                one = json.loads(record.read_text())
                command = pathlib.Path(f"/proc/{one['pid']}/cmdline").read_bytes()
            except (OSError, ValueError, KeyError):
                continue
            if str(record.parent).encode() in command:
                found[record.parent.name] = one
        return found

    def stop_agents(self):
        """Ends every agent at once (SIGUSR1: its supervisor kills all that descends from it)."""
        for one in self.supervisors().values():
            try:
                os.kill(one["pid"], signal.SIGUSR1)
            except ProcessLookupError:
                pass
        wait_for("the agents end", lambda: not self.supervisors(), 10)

    def processes(self):
        """Command lines of living processes that speak of this server's folder."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(self.data).encode() in command + environment and state != "Z":
                found.append(f"{entry.name}: {command.replace(bytes(1), b' ').decode(errors='replace')}")
        return found

    def close(self):
        """Stops everything and says what was left over or complained of at the end."""
        problems = []
        if self.process and self.process.poll() is None:
            try:
                status = self.stop()
                problems += [f"the server ended with status {status}"] if status else []
            except subprocess.TimeoutExpired:
                self.kill()
                problems.append(f"the server did not stop:\n{self.tail(5)}")
        self.stop_agents()
        try:
            wait_for("every process ends", lambda: not self.processes(), 5)
        except AssertionError:
            problems += [f"left over: {line}" for line in self.processes()]
        return problems + [line for line in self.complaints() if SANITIZER.search(line)]

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    # ── its log ──────────────────────────────────────────────────────────────────────────────

    def tail(self, count=40):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def log_position(self):
        return self.log.stat().st_size if self.log.exists() else 0

    def log_lines(self, since=0):
        with self.log.open("rb") as log:
            log.seek(since)
            for raw in log.read().decode(errors="replace").splitlines():
                try:
                    yield json.loads(raw)
                except ValueError:  # a banner, or a sanitizer's report
                    yield {"level": "error" if SANITIZER.search(raw) else "info", "room": "-", "message": raw}

    def complaints(self, since=0):
        """Errors in the log since that position, and all that sanitizers found (in any process)."""
        found = [f"{line['room']}: {line['message']}" for line in self.log_lines(since) if line["level"] == "error"]
        for report in self.folder.glob("sanitizer.*"):
            found += [line for line in report.read_text(errors="replace").splitlines() if line.strip()]
        return found


class Api:
    """Plain HTTP for what dtlpy hides: exact bytes, statuses, headers, routes it does not use."""

    def __init__(self, server, token):
        self.server = server
        self.session = requests.Session()
        self.session.trust_env = False
        if token:
            self.session.headers["authorization"] = f"Bearer {token}"

    def call(self, method, path, body=None, **more):
        base = self.server.url + ("" if path.startswith(("/token", "/login", "/healthz", "/readyz", "/metrics"))
                                  else "/api/v1")
        if body is not None:
            more["json"] = body
        more.setdefault("timeout", 120)
        return self.session.request(method, base + path, **more)

    def get(self, path, **more):
        return self.good("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.good("POST", path, body, **more)

    def patch(self, path, body=None, **more):
        return self.good("PATCH", path, body, **more)

    def delete(self, path, **more):
        return self.good("DELETE", path, **more)

    def good(self, method, path, body=None, **more):
        answer = self.call(method, path, body, **more)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def bad(self, status, method, path, body=None, **more):
        """The error that the call must give, checked for its published form."""
        answer = self.call(method, path, body, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        error = answer.json()
        assert error["statusCode"] == status and error["message"], error
        return error

    # ── what tests need all the time ─────────────────────────────────────────────────────────

    def execution(self, identity):
        return self.get(f"/executions/{identity}")

    def execute(self, service, function="run", value=None, **body):
        request = {"functionName": function, "input": value or {}, **body}
        return self.post(f"/executions/{service}", request)

    def finished(self, identity, seconds=60):
        """The execution, once it has ended."""
        def ended():
            execution = self.execution(identity)
            return execution if execution["latestStatus"]["status"] in FINAL else None
        return wait_for(f"execution {identity} ends", ended, seconds)

    def run(self, service, function="run", value=None, seconds=60, **body):
        return self.finished(self.execute(service, function, value, **body)["id"], seconds)

    def status_of(self, identity):
        return self.execution(identity)["latestStatus"]["status"]

    def replicas(self, service):
        """The ids of its replicas, of old revisions too."""
        return {one["replicaId"] for one in self.get(f"/services/{service}/rollout")["replicas"]}

    def ready(self, service, count=1, seconds=400):
        """Waits until so many agents of the service are ready."""
        def agents():
            status = self.get(f"/services/{service}/status")
            return [one for one in status["runtimeStatus"] if one["status"]]
        return wait_for(f"{count} agents of service {service} are ready",
                        lambda: len(agents()) >= count and agents(), seconds, 0.2)


def certificate(folder):
    """A certificate for this machine, signed by itself: (certificate, key)."""
    cert, key = folder / "certificate.pem", folder / "certificate.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def plain_code(text, files=None):
    """The code of a package that needs nothing but Python, as a zip in memory; files: {name: text}."""
    import io
    import textwrap
    import zipfile
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("main.py", textwrap.dedent(text))
        for name, content in (files or {}).items():
            archive.writestr(name, content)
    return made.getvalue()


def upload(api, dataset, path, content, mode="skip", **fields):
    """As dtlpy uploads: multipart, the file last."""
    parts = [("type", (None, "file")), ("path", (None, path))]
    parts += [(name, (None, value)) for name, value in fields.items()]
    parts += [("file", (path.rpartition("/")[2], content, "application/octet-stream"))]
    return api.call("POST", f"/datasets/{dataset}/items?mode={mode}", files=parts)


# Notes each start in the folder, and returns when there is a file "go" in it.
WAITING_CODE = """
    import os, time
    class ServiceRunner:
        def run(self, folder):
            with open(os.path.join(folder, "starts"), "a") as file:
                file.write("x")
            while not os.path.exists(os.path.join(folder, "go")):
                time.sleep(0.05)
            return "done"
"""
WAITING_FUNCTIONS = {"run": {"folder": "String"}}


def push_plain(api, project, name, text, functions, files=None, init=None, entry="main.py"):
    """Makes a package of plain Python, or of another entry point among files; functions: {name: {input: type}}."""
    query = {"filter": {"$and": [{"name": "Binaries"}]}, "context": {"projects": [project]}, "systemSpace": True,
             "page": 0, "pageSize": 1000, "resource": "datasets"}
    binaries = api.post("/datasets/query", query)["items"][0]
    item = upload(api, binaries["id"], f"/codebases/{name}/0.zip", plain_code(text, files), mode="overwrite")
    assert item.ok, item.text
    module = {"name": "default_module", "entryPoint": entry, "className": "ServiceRunner",
              "initInputs": [{"name": key, "type": kind} for key, kind in (init or {}).items()],
              "functions": [{"name": function, "input": [{"name": key, "type": kind} for key, kind in inputs.items()],
                             "output": [], "description": ""} for function, inputs in functions.items()]}
    return api.post("/packages", {"name": name, "projectId": project, "modules": [module],
                                  "codebase": {"type": "item", "itemId": item.json()["id"]}})


def deploy_plain(api, project, name, text, functions, files=None, init=None, entry="main.py", **settings):
    """Such a package as a service without dtlpy in it: it starts in a fraction of a second."""
    package = push_plain(api, project, name, text, functions, files, init, entry)
    body = {"name": name, "projectId": project, "packageId": package["id"], "versions": {"dtlpy": "none"},
            "runtime": {"concurrency": 10}}
    return api.post("/services", {**body, **settings})
