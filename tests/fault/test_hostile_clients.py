# SPDX-License-Identifier: Apache-2.0
"""Slow, greedy and malformed clients, on raw sockets. Meanwhile a client that keeps to the rules is served
on, /healthz answers and the server's memory stays bounded; afterwards everything is released."""
import contextlib
import io
import pathlib
import re
import resource
import socket
import struct
import threading
import time
import zipfile

import pytest
import requests

import harness
from counting import Load, deploy, verdict
from faults import LONG

IDLE = 3  # seconds that the server gives the silent
CONNECTIONS = 10_000
RSS_MIB = 400 * (5 if harness.SANITIZED else 1)
MANY = 5 if LONG else 1  # as much again in the long run
CONTENT = "Host: drover\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module", autouse=True)
def many_files():
    """For us and for the server that we start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def server(many_files, tmp_path_factory):
    options = {"idle-timeout": f"{IDLE}s", "max-archive": "32MiB", "max-archive-entries": "1000",
               "max-connections": str(CONNECTIONS + 1000), "lease": "10s"}
    server = harness.Server(tmp_path_factory.mktemp("clients"), **options).start()
    yield server
    problems = server.close() + [line for line in server.complaints() if "max-archive" not in line]
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def place(server):
    return Place(server)


def resident(server):
    text = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) >> 10


class Place:
    def __init__(self, server):
        self.server = server
        self.api, self.service = deploy(server, runtime={"concurrency": 10})
        self.token = self.api.session.headers["authorization"].split()[1]
        self.project = self.api.get(f"/services/{self.service}")["projectId"]
        self.dataset = self.api.post("/datasets", {"name": "data", "projects": [self.project]})["id"]

    def connections(self):
        return int(re.search(r"^drover_http_connections (\d+)", self.api.call("GET", "/metrics").text, re.M)[1])

    def head(self, line, length=None, more=""):
        text = f"{line} HTTP/1.1\r\n" + CONTENT.format(token=self.token) + more
        text += f"Content-Length: {length}\r\n" if length is not None else ""
        return (text + "\r\n").encode()

    def post(self, length=None, more=""):
        return self.head(f"POST /api/v1/executions/{self.service}", length, more)

    def connect(self, address="127.0.0.1"):
        made = socket.create_connection(("127.0.0.1", self.server.port), 20, (address, 0))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    @contextlib.contextmanager
    def crowd(self, count, address="127.0.0.1"):
        """So many connections; what is left of them is closed at the end."""
        crowd = [self.connect(address) for _ in range(count)]
        try:
            yield crowd
        finally:
            for one in crowd:
                one.close()

    @contextlib.contextmanager
    def calm(self, folder, what):
        """A client that keeps to the rules, somebody who asks for /healthz, and what it comes to."""
        stop, most, waits = threading.Event(), [resident(self.server)], []

        def watch():
            while not stop.is_set():
                began = time.monotonic()
                # A connection of its own each time: newcomers are served too.
                assert requests.get(self.server.url + "/healthz", timeout=10).status_code == 200
                waits.append(time.monotonic() - began)
                most.append(resident(self.server))
                time.sleep(0.05)

        watcher = Checked(watch)
        with Load(self.api, self.service, folder / "runs", pace=100) as load:
            try:
                load.wait_more(20)
                yield
                load.wait_more(20)
            finally:
                stop.set()
                watcher.end()
        harness.wait_for("its connections are released", lambda: self.connections() <= 4, IDLE + 20)
        verdict(self.api, load, 1, False, what)
        print(f"      {len(waits)} times healthy, within {max(waits):.2f} s; resident at most {max(most)} MiB, "
              f"then {resident(self.server)} MiB")
        assert len(waits) > 1 and max(most) < RSS_MIB
        assert self.server.starts == 1 and self.server.process.poll() is None


class Checked(threading.Thread):
    """A thread whose failure is ours."""

    def __init__(self, work):
        super().__init__()
        self.work, self.error = work, None
        self.start()

    def run(self):
        try:
            self.work()
        except (AssertionError, OSError, requests.RequestException) as error:
            self.error = error

    def end(self):
        self.join()
        if self.error:
            raise self.error


def said(connection, most=65536):
    """What comes until the server closes, or so many bytes of it."""
    text = b""
    with contextlib.suppress(ConnectionError):
        while len(text) < most:
            piece = connection.recv(65536)
            if not piece:
                break
            text += piece
    return text


def push(connection, data):
    """Sends; False when the server does not take more."""
    try:
        connection.sendall(data)
        return True
    except OSError:
        return False


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def trickle(crowd, data, seconds):
    """A byte to each, again and again; how many were still open at the end."""
    alive, end, at = list(crowd), time.monotonic() + seconds, 0
    while alive and time.monotonic() < end:
        alive = [one for one in alive if push(one, data[at:at + 1])]
        at += 1
        time.sleep(0.2)
    return len(alive)


# ── the slow ─────────────────────────────────────────────────────────────────────────────────

def test_slow_heads(place, tmp_path):
    with place.calm(tmp_path, "slow heads"), place.crowd(500) as crowd:
        left = trickle(crowd, b"GET /healthz HTTP/1.1\r\nX-Endless: " + b"a" * 1000, IDLE + 5)
        assert left == 0, f"{left} heads are never whole and still taken"


def test_slow_bodies(place, tmp_path):
    with place.calm(tmp_path, "slow bodies"), place.crowd(500) as crowd:
        for one in crowd:
            one.sendall(place.post(1000000) + b"{")
        trickle(crowd, b" " * 1000, IDLE + 5)


def test_they_never_speak(place, tmp_path):
    with place.calm(tmp_path, "silent connections"), place.crowd(1000) as silent, place.crowd(500) as middle:
        for one in middle:
            one.sendall(place.post(1000) + b'{"functionName":')  # and never the rest
        time.sleep(IDLE + 1)
        assert all(said(one) == b"" for one in silent)
        for one in middle:
            assert b"success" not in said(one)


def test_they_never_read(place, tmp_path):
    """Large answers that nobody takes: each connection is closed when nothing moved for so long."""
    ask = place.head("GET /api/v1/openapi.json")
    with place.calm(tmp_path, "clients that never read"), place.crowd(200) as crowd:
        for one in crowd:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.setblocking(False)
            push(one, ask * 20)
        harness.wait_for("they are closed", lambda: place.connections() < 10, IDLE + 20)


def test_half_bodies_and_resets(place, tmp_path):
    with place.calm(tmp_path, "resets in a body"):
        for number in range(2000 * MANY):
            one = place.connect()
            one.sendall(place.post(100000) + b'{"functionName":"run","input":{' + b" " * (number * 37 % 50000))
            reset(one)


@pytest.mark.timeout(300)
def test_ten_thousand_connections(place, tmp_path):
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500
    count = min(CONNECTIONS, room)
    ask = place.head("GET /healthz")
    with place.calm(tmp_path, f"crowd of {count} connections"), contextlib.ExitStack() as stack:
        # From ten addresses; a third speaks, a third begins to, a third is silent. All stay.
        crowds = [stack.enter_context(place.crowd(count // 10, f"127.0.0.{2 + at}")) for at in range(10)]
        everybody = [one for crowd in crowds for one in crowd]
        for one in everybody[::3]:
            push(one, ask)
        for one in everybody[1::3]:
            push(one, ask[:20])
        answered = sum(said(one, 1).startswith(b"HTTP/1.1 200") for one in everybody[::3])
        print(f"\n    {answered} of {len(everybody[::3])} that spoke were answered")
        assert answered >= len(everybody[::3]) * 0.99


# ── the large ────────────────────────────────────────────────────────────────────────────────

def test_bodies_without_end(place, tmp_path):
    megabyte = b" " * (1 << 20)
    with place.calm(tmp_path, "endless bodies"):
        for length in (10 ** 12, 2 ** 63 - 1):
            with contextlib.closing(place.connect()) as one:
                one.sendall(place.post(length))
                assert b" 413 " in said(one, 1), length
        for length in (2 ** 64, 10 ** 30, -1):
            with contextlib.closing(place.connect()) as one:
                one.sendall(place.post(length))
                assert re.match(rb"HTTP/1.1 4(00|13) ", said(one, 1)), length
        for _ in range(2):
            with contextlib.closing(place.connect()) as one:
                one.sendall(place.post(more="Transfer-Encoding: chunked\r\n"))
                one.settimeout(IDLE + 20)
                end = time.monotonic() + IDLE + 20
                while push(one, b"100000\r\n" + megabyte + b"\r\n"):
                    assert time.monotonic() < end, "it is taken for ever"


def test_deep_json(place, tmp_path):
    bodies = [b"[" * 1_000_000, b'{"a":' * 1_000_000, b'{"functionName":"run","input":' + b"[" * 10000 + b"]" * 10000 + b"}",
              b'{"functionName":"run","input":{"folder":"' + b"\\u0041" * 1_000_000 + b'"',
              b"1" * 5_000_000, b'{"a":1' + b',"a":1' * 1_000_000]
    with place.calm(tmp_path, "bodies of JSON that is none"):
        for _ in range(3 * MANY):
            for body in bodies:
                answer = place.api.call("POST", f"/executions/{place.service}", data=body,
                                        headers={"content-type": "application/json"})
                assert 400 <= answer.status_code < 500 and answer.json()["message"], answer.text[:300]


def archive(entries):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in entries:
            out.writestr(name, content)
    return made.getvalue()


BOMBS = {"too large": lambda: [("main.py", b"class ServiceRunner: pass"), ("zeros", bytes(300 << 20))],
         "too many": lambda: [(f"empty{number}.py", b"") for number in range(20000)]}


@pytest.mark.parametrize("kind", BOMBS)
def test_zip_bombs(place, tmp_path, kind):
    """The package is refused, or its service says why it cannot start; the disk takes no more than is allowed."""
    bomb = archive(BOMBS[kind]())
    with place.calm(tmp_path, f"bomb ({kind}, {len(bomb) >> 10} KiB)"):
        query = {"filter": {"$and": [{"name": "Binaries"}]}, "context": {"projects": [place.project]}, "systemSpace": True,
                 "page": 0, "pageSize": 10, "resource": "datasets"}
        binaries = place.api.post("/datasets/query", query)["items"][0]["id"]
        item = harness.upload(place.api, binaries, f"/codebases/bomb/{len(bomb)}.zip", bomb, mode="overwrite")
        assert item.ok, item.text
        item = item.json()["id"]
        name = "bomb-" + kind.replace(" ", "-")
        module = {"name": "default_module", "entryPoint": "main.py", "className": "ServiceRunner",
                  "functions": [{"name": "run", "input": [], "output": [], "description": ""}]}
        package = place.api.post("/packages", {"name": name, "projectId": place.project, "modules": [module],
                                               "codebase": {"type": "item", "itemId": item}})
        service = place.api.post("/services", {"name": name, "projectId": place.project, "packageId": package["id"],
                                               "versions": {"dtlpy": "none"}})["id"]
        option = "--max-archive-entries" if kind == "too many" else "--max-archive"

        def told():
            status = place.api.get(f"/services/{service}/status")["runtimeStatus"]
            return [one["message"] for one in status if option in (one["message"] or "")]

        print("\n   ", harness.wait_for("the status says why", told, 60)[0][:300])
        place.api.delete(f"/services/{service}")


def test_a_million_parts(place, tmp_path):
    part = b'--b\r\nContent-Disposition: form-data; name="p"\r\n\r\n\r\n'
    bodies = [part * (1_000_000 * MANY) + b"--b--\r\n",
              b"--b\r\n" + b"X-Head: " + b"h" * 10_000_000 + b"\r\n\r\n\r\n--b--\r\n", b"\r\n" * 5_000_000, b"--b" * 1_000_000]
    with place.calm(tmp_path, "forms of a million parts"):
        for body in bodies:
            answer = place.api.call("POST", f"/datasets/{place.dataset}/items", data=body,
                                    headers={"content-type": "multipart/form-data; boundary=b"})
            assert 400 <= answer.status_code < 500 and answer.json()["message"], answer.text[:300]


# ── the many and the wrong ───────────────────────────────────────────────────────────────────

def test_pipelined_floods(place, tmp_path):
    """Thousands of requests in a row on one connection, whose answers are read later or never."""
    ask = place.head("GET /healthz")
    with place.calm(tmp_path, "floods in pipelines"):
        for _ in range(MANY):
            with place.crowd(20) as crowd:
                readers = []
                for at, one in enumerate(crowd):
                    if at % 2:
                        readers.append(Checked(lambda one=one: answers(one, 5000)))
                    pushing = Checked(lambda one=one: push(one, ask * 5000))
                    if at % 2:
                        readers.append(pushing)
                for reader in readers:
                    reader.end()


def answers(connection, count):
    rest, seen = b"", 0
    while seen < count:
        piece = connection.recv(1 << 20)
        assert piece, f"closed after {seen} of {count} answers"
        rest += piece
        seen += rest.count(b"HTTP/1.1 200")
        rest = rest[-11:] if not rest.endswith(b"HTTP/1.1 200") else b""


GARBAGE = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
           b"GET / HTTP/9.9\r\n\r\n", b"\0" * 4096, b"GET " + b"/" * 100000 + b" HTTP/1.1\r\n\r\n",
           b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n", b"\r\n" * 10000, b"POST / HTTP/1.1\r\nHost: x\r\n"
           b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: what\r\n\r\n"]


def garbage(place, draw, count):
    for number in range(count):
        with contextlib.closing(place.connect()) as one:
            one.settimeout(0.02)
            push(one, GARBAGE[number % len(GARBAGE)] if number % 2 else draw.randbytes(draw.randrange(1, 3000)))
            with contextlib.suppress(TimeoutError):
                assert b" 200 " not in said(one)[:20]


def test_garbage(place, tmp_path, draw):
    with place.calm(tmp_path, "connections with garbage"):
        garbage(place, draw, 500 * MANY)


@pytest.mark.timeout(600)
def test_memory_does_not_grow(place, tmp_path, draw):
    """Rounds of the cheap ones: after the first two the server takes no more."""
    sizes = []
    with place.calm(tmp_path, "rounds of everything"):
        for _ in range(6 * MANY):
            garbage(place, draw, 60)
            with place.crowd(300) as crowd:
                for one in crowd:
                    push(one, place.post(1 << 20) + b" " * 60000)
                for one in crowd[::2]:
                    reset(one)
            time.sleep(0.3)
            sizes.append(resident(place.server))
    print(f"      resident after each round: {sizes} MiB")
    assert sizes[-1] <= max(sizes[:2]) + 30, sizes
