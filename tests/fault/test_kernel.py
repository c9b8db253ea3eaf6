# SPDX-License-Identifier: Apache-2.0
"""A kernel that has nothing left, and a disk that is slow or really full, under load: the server serves
on, says what it lacks, and goes on by itself when there is some again."""
import contextlib
import os
import subprocess
import time

import pytest
import requests

import counting
import faults
import harness


@pytest.fixture
def server(tmp_path):
    server = faults.Server(tmp_path / "server").start()
    yield server
    server.control.disarm()
    problems = server.close()
    assert not problems, "\n".join(problems)


LACKS = [("fork", "EAGAIN", "cannot start"), ("accept", "ENFILE", "refuses a new connection"),
         ("open open_read socket accept eventfd pipe pidfd", "EMFILE", "Too many open files"),
         ("receive send", "EINTR", None), ("fork", "ENOMEM", "cannot start"), ("thread", "EAGAIN", None),
         ("pidfd", "EMFILE", "cannot watch"), ("mmap", "ENOMEM", None)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("calls, error, says", faults.part(LACKS, 4))
def test_kernel_has_none_left(server, tmp_path, calls, error, says):
    """Every such call fails for some seconds, while agents die and have to be started again."""
    api, service = counting.deploy(server)
    with counting.Load(api, service, tmp_path / "runs") as load:
        load.wait_more(100)
        position = server.log_position()
        with server.control.failing(calls, error, count=100000):
            for ids in server.supervisors().values():
                faults.kill(ids["pid"])
            time.sleep(2.5)
            if "accept" not in calls and "receive" not in calls:
                fresh = harness.Api(server, api.session.headers["authorization"].split()[1])
                assert fresh.get(f"/services/{service}")["id"] == service  # a new connection, served
            failed = server.control.get("failed")
        assert failed < 50000, "it spins instead of waiting"
        assert server.process.poll() is None, server.tail()
        api.ready(service, seconds=60)
        load.wait_more(100)
    counting.verdict(api, load, 1, True, f"lack ({error} of {calls}: {failed} calls failed, refused "
                     f"{dict(load.refusals)})")
    said = server.errors(position)
    print("     ", *sorted({line[:140] for line in said})[:4], sep="\n      ")
    assert not says or failed and any(says in line for line in said), said
    assert server.starts == 1


# ── memory ───────────────────────────────────────────────────────────────────────────────────

@pytest.mark.timeout(300)
def test_large_bodies_without_memory(tmp_path):
    """Every allocation of 1 MiB and more fails: who asks for one gets an error, the others are served."""
    server = faults.Server(tmp_path / "server", memory=True, **{"max-input": "16MiB"}).start()
    try:
        api, service = counting.deploy(server)
        project = api.get(f"/services/{service}")["projectId"]
        dataset = api.post("/datasets", {"name": "data", "projects": [project]})["id"]
        with counting.Load(api, service, tmp_path / "runs") as load:
            load.wait_more(50)
            server.control.set(min_size=1 << 20)
            with server.control.failing("memory", "ENOMEM"):
                body = load.body(10**6)
                body["input"]["more"] = "x" * (4 << 20)
                answers = [api.call("POST", f"/executions/{service}", body) for _ in range(4)]
                answers += [api.call("POST", "/query/faas", {"filter": {"name": "x" * (3 << 20)}})]
                assert [one.status_code for one in answers] == [503] * 5, answers[-1].text
                assert all(counting.sentence(one) for one in answers)
                assert harness.upload(api, dataset, "/big", b"x" * (8 << 20)).ok  # goes by in pieces
                failed = server.control.get("failed")
            load.wait_more(50)
        assert server.starts == 1 and server.process.poll() is None
        counting.verdict(api, load, failed, False, "large allocations that failed")
    finally:
        server.control.disarm()
        problems = server.close()
    assert not problems, problems


# ── slow ─────────────────────────────────────────────────────────────────────────────────────

IN_FLIGHT = 256


@pytest.mark.timeout(300)
def test_disk_is_slow(server, tmp_path):
    """Each fsync takes 5 ms longer, 256 executions are in flight: commits are shared, nothing is lost."""
    api, service = counting.deploy(server, runtime={"concurrency": 64, "numReplicas": 1})
    server.control.set(sync_us=5000)
    syncs, begin = server.control.get("syncs"), time.monotonic()
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(counting.Load(api, service, tmp_path / f"runs{number}", limit=IN_FLIGHT // 8,
                                                   deadline=60)) for number in range(8)]
        time.sleep(4)
    harness.wait_for("everything ends", lambda: counting.open_ones(api, service) == 0, 180, 0.2)
    seconds, syncs = time.monotonic() - begin, server.control.get("syncs") - syncs
    for load in loads:
        counting.verdict(api, load, 0, False, "kills, a slow disk")
    accepted = sum(len(load.accepted) for load in loads)
    print(f"\n    5 ms an fsync, {IN_FLIGHT} in flight: {accepted} executions in {seconds:.1f} s, "
          f"{accepted / seconds:.0f}/s, {accepted / max(syncs, 1):.1f} an fsync")
    server.control.set(sync_us=0)


# ── full ─────────────────────────────────────────────────────────────────────────────────────

@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB of its own, where one may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "drover-test", folder], capture_output=True,
                             text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.timeout(300)
def test_disk_is_really_full(small_disk, tmp_path):
    server = harness.Server(small_disk / "server", lease="2s")
    server.log = tmp_path / "server.log"  # not on the disk that is full
    server.start()
    ballast = small_disk / "ballast"
    try:
        api, service = counting.deploy(server)
        with counting.Load(api, service, tmp_path / "runs") as load:
            load.wait_more(100)
            position = server.log_position()
            harness.wait_for("requests are refused", lambda: fill(ballast) or load.refusals[503] > 20, 30, 0.1)
            assert api.get(f"/services/{service}")["id"] == service
            accepted = len(load.accepted)
            assert accepted >= 100 and counting.kept(api, service) >= accepted, "what was accepted can be read"
            assert any("disk full" in line["message"] for line in server.log_lines(position))
            ballast.unlink()
            load.wait_more(100)
        counting.verdict(api, load, 1, False, f"disk of 24 MiB filled up (refused {dict(load.refusals)})")
        # Full at a stop and a start, too.
        fill(ballast)
        server.stop()
        with contextlib.suppress(AssertionError, requests.RequestException):
            server.start()
        if server.process.poll() is None:
            assert api.get(f"/services/{service}")["id"] == service
            server.stop()
        else:
            assert "cannot start" in server.tail(), server.tail()
        ballast.unlink()
        server.start()
        found = counting.every(api, service)
        assert all(found[one]["latestStatus"]["status"] == "success" for one in load.accepted)
    finally:
        ballast.unlink(missing_ok=True)
        problems = server.close()
    assert not problems, problems


def fill(path):
    """Until nothing fits any more."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    os.fsync(file.fileno())
