# SPDX-License-Identifier: Apache-2.0
"""A backup of a busy server, and what a server on the restored folder does."""
import hashlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import tarfile
import threading
import time

import pytest

import harness

CODE = """
    import time
    class ServiceRunner:
        def run(self, number):
            print("doubling", number)
            return number * 2
        def nap(self, seconds, mark):
            open(mark, "w").close()
            time.sleep(seconds)
            return "rested"
"""
FUNCTIONS = {"run": {"number": "Number"}, "nap": {"seconds": "Number", "mark": "String"}}


def drover(*arguments, server=None, key=None, **more):
    env = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
    if server:
        env.update(DROVER_URL=server.url, DROVER_API_KEY=key or (server.data / "admin-key").read_text().strip())
    return subprocess.run([str(harness.BUILD / "drover"), *map(str, arguments)], env=env, capture_output=True, text=True,
                          timeout=120, check=False, **more)


def good(answer):
    assert answer.returncode == 0, answer.stderr
    return answer


class Load:
    """Clients that submit executions until the end; `accepted` holds the ids that were answered."""

    def __init__(self, api, service):
        self.accepted, self.going = [], True
        self.threads = [threading.Thread(target=self.submit, args=(api, service)) for _ in range(3)]
        for thread in self.threads:
            thread.start()

    def submit(self, api, service):
        mine = harness.Api(api.server, api.session.headers["authorization"].split()[1])
        number = 0
        while self.going:
            body = [{"functionName": "run", "input": {"number": number + i}} for i in range(5)]
            self.accepted += [one["id"] for one in mine.post(f"/executions/{service}", body)]
            number += 5

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join()


def restored(tmp_path, archive, name):
    """A server on what the archive holds."""
    other = harness.Server(tmp_path / name)
    good(drover("restore", archive, "--data", other.data))
    return other


@pytest.mark.core
def test_backup_under_load_and_restore(own_server, tmp_path, unique):
    server, api = own_server()
    project = api.post("/projects", {"name": "kept"})["id"]
    service = harness.deploy_plain(api, project, unique("busy"), CODE, FUNCTIONS, onReset="rerun")["id"]
    api.ready(service)
    mark = tmp_path / "mark"
    running = api.execute(service, "nap", {"seconds": 300, "mark": str(mark)})["id"]
    harness.wait_for("it runs", mark.exists)
    load = Load(api, service)
    harness.wait_for("there is load", lambda: len(load.accepted) > 200)
    before = list(load.accepted)
    good(drover("backup", tmp_path / "api.tar", "--with-keys", server=server))
    good(drover("backup", "--data", server.data, tmp_path / "folder.tar", "--with-keys"))
    load.stop()
    mark.unlink()
    assert api.run(service, "run", {"number": 3})["output"] == 6, "the server goes on as before"
    assert not list((server.data / "blobs" / "tmp").iterdir()), "no copies are left behind"
    server.stop()
    server.stop_agents()
    for archive in ("api", "folder"):
        other = restored(tmp_path, tmp_path / f"{archive}.tar", f"restored-{archive}")
        with sqlite3.connect(other.data / "drover.db") as rows:
            kept = {row[0] for row in rows.execute("SELECT id FROM executions")}
            assert rows.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            blobs = {row[0] for row in rows.execute("SELECT blob FROM items WHERE blob IS NOT NULL")}
        assert set(before) <= kept, "what was accepted before the backup began is in it"
        assert running in kept and blobs
        days = list((other.data / "logs").glob("????-??-??.db"))
        assert days, "the log lines are in it"
        with sqlite3.connect(days[0]) as lines:
            assert lines.execute("SELECT count(*) FROM lines").fetchone()[0] > 100
        for blob in blobs:
            content = (other.data / "blobs" / blob[:2] / blob).read_bytes()
            assert hashlib.sha256(content).hexdigest() == blob
        other.start()
        try:
            mine = harness.Api(other, (other.data / "admin-key").read_text().strip())
            final = harness.FINAL
            for identity in before[-50:]:
                assert mine.finished(identity)["latestStatus"]["status"] == "success"
            counters = harness.wait_for("all that was queued has run", lambda: [
                one for one in [sorted(mine.status_of(identity) for identity in sorted(kept)[-30:] if identity != running)]
                if set(one) <= final])
            assert set(counters[0]) == {"success"}
            harness.wait_for("what ran is run again", mark.exists)
            assert mine.status_of(running) in ("in-progress", "rerun")
            assert mine.run(service, "run", {"number": 21})["output"] == 42
            assert len(mine.ready(service)) == 1, "no replica of the old server is there"
        finally:
            mark.unlink(missing_ok=True)
            assert not other.close()


def test_without_keys(own_server, tmp_path):
    server, api = own_server()
    api.post("/projects", {"name": "kept"})
    password = (server.data / "admin-password").read_text().strip()
    key = (server.data / "admin-key").read_text().strip()
    good(drover("backup", tmp_path / "b.tar", server=server))
    with tarfile.open(tmp_path / "b.tar") as archive:
        assert {"drover.db", "manifest.json"} <= set(archive.getnames())
        assert not [name for name in archive.getnames() if "key" in name or "password" in name]
    other = restored(tmp_path, tmp_path / "b.tar", "restored").start()
    try:
        harness.Api(other, key).bad(401, "GET", "/projects")
        answer = harness.Api(other, None).post(
            "/token?default", {"type": "user_credentials", "username": "admin@localhost", "password": password})
        assert [one["name"] for one in harness.Api(other, answer["id_token"]).get("/projects")] == ["kept"]
    finally:
        assert not other.close()


def test_epoch_grows(own_server, tmp_path):
    server, _ = own_server()
    good(drover("backup", "--data", server.data, tmp_path / "b.tar"))
    other = restored(tmp_path, tmp_path / "b.tar", "restored")
    epochs = []
    for data in (server.data, other.data):
        with sqlite3.connect(data / "drover.db") as rows:
            epochs.append(int(rows.execute("SELECT value FROM meta WHERE key='epoch'").fetchone()[0]))
    assert epochs[0] + 1000 <= epochs[1] < 2 ** 21


def test_what_restore_refuses(own_server, tmp_path):
    server, _ = own_server()
    good(drover("backup", tmp_path / "b.tar", server=server))
    used = drover("restore", tmp_path / "b.tar", "--data", server.data)
    assert used.returncode != 0 and "held by another server" in used.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    full = drover("restore", tmp_path / "b.tar", "--data", tmp_path / "mine")
    assert full.returncode != 0 and "not empty" in full.stderr
    assert [one.name for one in (tmp_path / "mine").iterdir()] == ["letter"]
    whole = (tmp_path / "b.tar").read_bytes()
    for name, content in {"cut": whole[:len(whole) // 2], "empty": b"", "else": b"not an archive" * 1000,
                          "changed": whole[:20000] + b"X" + whole[20001:]}.items():
        (tmp_path / f"{name}.tar").write_bytes(content)
        answer = drover("restore", tmp_path / f"{name}.tar", "--data", tmp_path / "new")
        assert answer.returncode not in (0, -11) and "nothing was restored" in answer.stderr, (name, answer.stderr)
        assert not list(tmp_path.glob("new*")), "nothing is left behind"
    assert drover("restore", tmp_path / "none.tar", "--data", tmp_path / "new").returncode == 3
    nowhere = drover("restore", tmp_path / "b.tar", "--data", "/proc/new")
    assert nowhere.returncode == 1 and "/proc/new" in nowhere.stderr and "is it running" not in nowhere.stderr
    for entry in ("../evil", "/etc/evil", "run/x", "blobs/ab/nothex"):
        with tarfile.open(tmp_path / "bad.tar", "w") as archive:
            for member, text in (("drover-backup.json", b"{}"), (entry, b"evil")):
                info = tarfile.TarInfo(member)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text))
        assert drover("restore", tmp_path / "bad.tar", "--data", tmp_path / "new").returncode != 0
        assert not list(tmp_path.glob("new*")) and not (tmp_path / "evil").exists()


def test_a_damaged_blob_is_named(own_server, tmp_path, unique):
    server, api = own_server()
    project = api.post("/projects", {"name": "kept"})["id"]
    harness.deploy_plain(api, project, unique("one"), CODE, FUNCTIONS)
    blob = next(path for path in (server.data / "blobs").glob("??/*"))
    blob.write_bytes(b"something else")
    answer = drover("backup", "--data", server.data, tmp_path / "b.tar")
    assert answer.returncode == 1 and blob.name in answer.stderr
    with tarfile.open(tmp_path / "b.tar") as archive:
        assert json.load(archive.extractfile("manifest.json"))["damaged"] == [blob.name]
    again = drover("restore", tmp_path / "b.tar", "--data", tmp_path / "new")
    assert again.returncode == 1 and blob.name in again.stderr and (tmp_path / "new" / "drover.db").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_restore_leaves_nothing(own_server, tmp_path, number):
    """Also while it waits for the rest of the archive; and what a killed one left, the next one removes."""
    server, _ = own_server()
    good(drover("backup", tmp_path / "b.tar", server=server))
    head = (tmp_path / "b.tar").read_bytes()[:40000]

    def begin():
        process = subprocess.Popen([str(harness.BUILD / "drover"), "restore", "-", "--data", str(tmp_path / "new")],
                                   stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(head)
        process.stdin.flush()
        harness.wait_for("it has begun", lambda: list(tmp_path.glob("new.restoring-*/drover.db")))
        return process
    interrupted = begin()
    interrupted.send_signal(number)
    assert interrupted.wait(30 * harness.SLOW) == 130
    assert not list(tmp_path.glob("new*"))
    with begin() as killed:
        killed.kill()
    assert list(tmp_path.glob("new.restoring-*"))
    with begin() as going:
        assert len(list(tmp_path.glob("new.restoring-*"))) == 1, "that of the killed one is gone"
        second = drover("restore", tmp_path / "b.tar", "--data", tmp_path / "new")
        assert second.returncode == 0, second.stderr
        assert len(list(tmp_path.glob("new.restoring-*"))) == 1, "one that works keeps its folder"
        going.send_signal(number)
        assert going.wait(30 * harness.SLOW) == 130
    assert not list(tmp_path.glob("new.restoring-*"))


@pytest.mark.server_errors("client left")
def test_only_administrators_and_one_at_a_time(server, api, people, project):
    people("owner", project.id).bad(403, "GET", "/backup")
    people(None, project.id).bad(403, "GET", "/backup")
    api.bad(400, "GET", "/backup?keys=perhaps")
    answer = api.call("GET", "/backup", stream=True)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/x-tar"
    answer.close()
    harness.wait_for("it is noticed", lambda: api.call("GET", "/backup").status_code == 200)
    last = api.post("/audit/logs", {"filter": {"action": "backup"}})["items"]
    assert last and last[0]["after"] == {"keys": False}
    time.sleep(0.1)
    assert not list((server.data / "blobs" / "tmp").iterdir())
