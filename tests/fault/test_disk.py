# SPDX-License-Identifier: Apache-2.0
"""A disk that is full or fails: nothing accepted is lost, and everybody is told what is wrong."""
import os
import pathlib
import subprocess
import threading
import time

import pytest

import counting
import faults
import harness


@pytest.fixture
def server(tmp_path):
    server = faults.Server(tmp_path / "server").start()
    yield server
    server.control.disarm()
    problems = [line for line in server.close() if "ended with status" not in line]
    assert not problems, "\n".join(problems)


def dataset_of(api, service):
    project = api.get(f"/services/{service}")["projectId"]
    return api.post("/datasets", {"name": "data", "projects": [project]})["id"]


def kill_agents(server):
    for ids in server.supervisors().values():
        faults.kill(ids["pid"])


def told(server, position):
    print("     ", *sorted({line[:150].split(" (request")[0] for line in server.errors(position)})[:6], sep="\n      ")


# ── no room ──────────────────────────────────────────────────────────────────────────────────

# The first ones are those of `make test`, here and below.
FULL = [("ENOSPC", ""), ("EDQUOT", "drover.db-wal"), ("ENOSPC", "drover.db$"), ("ENOSPC", "data/logs"), ("ENOSPC", "run/"),
        ("ENOSPC", "blobs/"), ("ENOSPC", "drover.db-wal"), ("EDQUOT", "drover.db$"), ("EDQUOT", "data/logs"),
        ("EDQUOT", "blobs/"), ("EDQUOT", "")]


def while_full(server, api, service, load, dataset, where):
    """Refusals with a sentence; reading goes on; a new agent's folder cannot be made."""
    if where in ("run/", ""):
        kill_agents(server)
    time.sleep(1.5)
    answers = [api.call("POST", f"/executions/{service}", load.body(-1)),
               harness.upload(api, dataset, f"/full/{where.strip('/-$')}", b"x" * 100000)]
    if answers[0].ok:
        load.accepted[answers[0].json()["id"]] = -1
    for answer in answers:
        if not answer.ok:
            assert answer.status_code in (503, 507), answer.text
            assert "disk full" in counting.sentence(answer), answer.text
    refused = "drover.db-wal" in where or not where
    assert (not answers[0].ok) == refused, answers[0].text
    assert (not answers[1].ok) == (refused or "blobs" in where), answers[1].text
    assert api.get(f"/services/{service}")["id"] == service
    accepted = len(load.accepted)
    assert accepted >= 100 and counting.kept(api, service) >= accepted, "what was accepted can be read"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("error, where", faults.part(FULL, 5))
def test_disk_is_full(server, tmp_path, error, where):
    """Full under load, and room again: it goes on by itself."""
    api, service = counting.deploy(server)
    dataset = dataset_of(api, service)
    with counting.Load(api, service, tmp_path / "runs") as load:
        load.wait_more(100)
        position = server.log_position()
        with server.control.failing("write truncate mkdir", error, match=where):
            while_full(server, api, service, load, dataset, where)
        assert server.process.poll() is None, server.tail()
        load.wait_more(100)
    counting.verdict(api, load, 1, where in ("run/", ""), f"full disk ({error} below {where or 'everything'}: "
                     f"{server.control.get('failed')} calls failed, refused {dict(load.refusals)})")
    told(server, position)
    assert server.starts == 1


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
def test_a_full_disk_holds_up_no_backup(server, tmp_path, error):
    """Neither the copies nor the audit log need room in the data folder then."""
    api, service = counting.deploy(server)
    key = (server.data / "admin-key").read_text().strip()
    environment = {"DROVER_URL": server.url, "DROVER_API_KEY": key, "HOME": str(tmp_path)}

    def drover(*arguments):
        return subprocess.run([str(harness.BUILD / "drover"), *map(str, arguments)], env=environment, capture_output=True,
                              text=True, timeout=120, check=False)
    with server.control.failing("write truncate mkdir", error):
        refused = drover("exec", service, "run")
        assert refused.returncode == 5 and "disk full" in refused.stderr and "is it running" not in refused.stderr, refused
        position = server.log_position()
        taken = drover("backup", tmp_path / "b.tar")
        assert taken.returncode == 0, taken.stderr
        assert any("takes a backup" in line for line in server.errors(position) + server.tail().splitlines())
    assert not list(pathlib.Path(os.environ.get("TMPDIR", "/var/tmp")).glob("drover-backup-*"))
    restored = drover("restore", tmp_path / "b.tar", "--data", tmp_path / "restored")
    assert restored.returncode == 0, restored.stderr


# ── short writes ─────────────────────────────────────────────────────────────────────────────

@pytest.mark.timeout(300)
def test_short_writes(server, tmp_path):
    """Every write everywhere writes half: whoever writes has to go on with the rest."""
    with server.control.failing("write", short=True):
        api, service = counting.deploy(server)
        dataset = dataset_of(api, service)
        with counting.Load(api, service, tmp_path / "runs") as load:
            load.wait_more(300)
            assert harness.upload(api, dataset, "/short", b"x" * 100001).ok
        counting.verdict(api, load, server.control.get("failed"), False, "short writes")
    assert not load.refusals


# ── errors that are not about room ───────────────────────────────────────────────────────────

TODAY = time.strftime("%Y-%m-%d.db", time.gmtime())  # log lines; their index is made again when it is broken

# call, errno, below: whether the server has to end (None: it may). An fsync that fails is never tried again.
BROKEN = [("fsync", "EIO", "drover.db-wal", True), ("fsync", "EIO", "drover.db$", True),
          ("fsync", "EIO", TODAY, True), ("fsync", "EIO", "blobs/", True),
          ("write", "EIO", "drover.db-wal", True), ("read", "EIO", "drover.db", None),
          ("open rename write", "EIO", "run/", False), ("write", "EIO", "blobs/", False),
          ("fsync", "ENOSPC", "drover.db-wal", True), ("fsync", "EIO", "blobs/tmp/", True),
          ("fsync", "EDQUOT", "blobs/", True),
          ("write", "EIO", "drover.db$", True), ("write", "EROFS", "drover.db", True),
          ("write", "EIO", "data/logs/", False), ("rename", "EIO", "blobs/", False)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("calls, error, where, ends", faults.part(BROKEN, 8))
def test_disk_fails(server, tmp_path, calls, error, where, ends):
    api, service = counting.deploy(server)
    dataset = dataset_of(api, service)
    noise = threading.Event()
    with counting.Load(api, service, tmp_path / "runs") as load:
        load.wait_more(100)
        position = server.log_position()
        uploads = threading.Thread(target=counting.upload_until, args=(api, dataset, noise))
        with server.control.failing(calls, error, match=where):
            uploads.start()
            if where == "run/":
                kill_agents(server)
            if ends:
                server.wait_end(60)
            else:
                time.sleep(2)
        noise.set()
        uploads.join()
        failed = server.control.get("failed")
        assert failed > 0
        if ends or (ends is None and server.process.poll() is not None):
            assert server.wait_end() == 1
            errors = [line for line in server.errors(position) if "the store failed and the server ends" in line]
            assert len(errors) == 1, server.tail()
            server.start()
        assert server.process.poll() is None, server.tail()
        load.wait_more(100)
    counting.verdict(api, load, 1, where == "run/", f"disk error ({error} of {calls} below {where}: {failed} calls failed, "
                     f"refused {dict(load.refusals)})")
    told(server, position)
    assert ends is None or server.starts == 1 + ends
    if calls == "fsync":
        assert failed == 1, f"a failed fsync was tried again: {failed}"


# ── the start ────────────────────────────────────────────────────────────────────────────────

START = [("open", "ENOSPC", "drover.lock"), ("write", "ENOSPC", "drover.lock"), ("open", "EIO", "drover.db$"),
         ("write", "ENOSPC", "drover.db"), ("fsync", "EIO", "drover.db"), ("open", "EROFS", ""),
         ("mkdir", "EROFS", ""), ("write", "ENOSPC", "jwt-key"), ("fsync", "EIO", "jwt-key"),
         ("rename", "EIO", "jwt-key"), ("write", "ENOSPC", "admin-key"), ("rename", "EIO", "admin-password"),
         ("mkdir", "ENOSPC", "blobs"), ("fsync", "EIO", "blobs"), ("mkdir", "ENOSPC", "data/logs"), ("fsync", "EIO", "data$")]


@pytest.mark.parametrize("calls, error, where", START)
def test_start_on_a_failing_disk(tmp_path, calls, error, where):
    """It ends with a sentence and exit code 1, and the next start is one like the first."""
    server = faults.Server(tmp_path / "server")
    server.control.arm(calls, error, match=where)
    try:
        with pytest.raises(AssertionError, match="the server ended with 1"):
            server.start()
        said = [line for line in server.errors() if "cannot start" in line]
        assert len(said) == 1, server.tail()
        assert server.control.get("failed") > 0
        server.control.disarm()
        server.start()
        api = harness.Api(server, (server.data / "admin-key").read_text().strip())
        api.post("/projects", {"name": "after"})
        assert (server.data / "admin-password").stat().st_size > 8
    finally:
        server.control.disarm()
        problems = server.close()
    assert not problems, problems
    print(f"\n    {error} of {calls} at {where or 'everything'}: {said[0][:180]}")
