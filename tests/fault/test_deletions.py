# SPDX-License-Identifier: Apache-2.0
"""A deletion that a server was killed in the middle of did not happen, or the next server ends it:
nobody ever sees a part of what was deleted."""
import sqlite3
import time

import pytest

import harness

ITEMS = 40_000
LINES = 200_000


def rows(server, sql, *values, file="drover.db"):
    with sqlite3.connect(f"file:{server.data}/{file}?mode=ro", uri=True, timeout=30) as database:
        return database.execute(sql, values).fetchone()[0]


def items_of(server, project):
    return rows(server, "SELECT count(*) FROM items WHERE project_id=?", project)


def fill(server, dataset):
    """The rows of many items, copies of the one that is there, without the time that uploads take."""
    with sqlite3.connect(server.data / "drover.db") as database:
        cursor = database.execute("SELECT * FROM items WHERE dataset_id=?", (dataset,))
        names = [column[0] for column in cursor.description]
        one = dict(zip(names, cursor.fetchone()))
        many = (tuple(dict(one, id=f"{number:024x}", filename=f"/{number}", name=str(number))[name] for name in names)
                for number in range(ITEMS))
        database.executemany(f"INSERT INTO items({','.join(names)}) VALUES({','.join('?' * len(names))})", many)


@pytest.mark.parametrize("kind", ["projects", "datasets"])
def test_killed_while_it_deletes(server, kind):
    api = harness.Api(server, (server.data / "admin-key").read_text().strip())
    project = api.post("/projects", {"name": "doomed"})["id"]
    dataset = api.post("/datasets", {"name": "photos", "projectId": project})["id"]
    item = harness.upload(api, dataset, "/first.txt", b"x").json()["id"]
    server.stop()
    fill(server, dataset)
    server.start()
    assert items_of(server, project) == ITEMS + 1
    path = f"/{kind}/{project if kind == 'projects' else dataset}"
    api.delete(path)
    kills, left = 0, ITEMS
    while left and kills < 10:
        time.sleep(0.05)
        server.kill()
        kills += 1
        left = items_of(server, project)
        server.start()
        api.bad(404, "GET", path)
        api.bad(404, "GET", f"/items/{item}")
        api.bad(404, "GET", f"/datasets/{dataset}")
        assert len(api.get("/projects")) == (0 if kind == "projects" else 1)
        assert api.post("/datasets/query", {})["totalItemsCount"] == 0
    assert kills > 1, "the first kill came too late: nothing was tried"
    harness.wait_for("everything is removed", lambda: items_of(server, project) == 0 and
                     rows(server, "SELECT count(*) FROM deletions") == 0, 60)
    entries = api.post("/audit/logs", {"filter": {"action": "delete", "entityId": path.rpartition("/")[2]}})["items"]
    assert [one["after"]["deleted"]["itemsCount"] for one in entries] == [ITEMS + 1]
    print(f"\n    {kills} kills: {ITEMS} items to delete, {left} were left at the last")


def log_files(server):
    return sorted(path.name for path in (server.data / "logs").glob("*.db"))


def lines_of(server, project):
    return sum(rows(server, "SELECT count(*) FROM lines JOIN services ON services.id=service WHERE project_id=?",
                    project, file=f"logs/{name}") for name in log_files(server))


def write_lines(server, project, service):
    """As many lines as cannot be deleted in the moment before a kill."""
    with sqlite3.connect(server.data / "logs" / log_files(server)[-1]) as database:
        first = database.execute("SELECT next_seq FROM state").fetchone()[0]
        database.execute("INSERT OR IGNORE INTO services SELECT max(id)+1,?,? FROM services", (service, project))
        number = database.execute("SELECT max(id) FROM services WHERE project_id=?", (project,)).fetchone()[0]
        database.executemany(
            "INSERT INTO lines(seq,at,level,system,service,source,message) VALUES(?,?,20,0,?,1,?)",
            ((first + line, 1000 + line, number, f"line {line}") for line in range(LINES)))
        database.execute("UPDATE state SET next_seq=?", (first + LINES,))


def test_log_lines_of_a_deleted_project_go(server):
    """Also those that its agent, which outlives the server, had not yet handed over."""
    api = harness.Api(server, (server.data / "admin-key").read_text().strip())
    doomed, other = (api.post("/projects", {"name": name})["id"] for name in ("doomed", "other"))
    code = """
        import threading, time
        def chat():
            while True:
                print("still here", flush=True)
                time.sleep(0.01)
        class ServiceRunner:
            def __init__(self):
                threading.Thread(target=chat, daemon=True).start()
            def run(self):
                pass
    """
    service = harness.deploy_plain(api, doomed, "chatty", code, {"run": {}})["id"]
    api.run(service)
    harness.wait_for("it writes", lambda: lines_of(server, doomed) > 0)
    server.kill()
    write_lines(server, doomed, service)
    write_lines(server, other, "0" * 24)
    server.start()
    api.ready(service)
    api.delete(f"/projects/{doomed}")
    server.kill()
    left = lines_of(server, doomed)
    assert left > 0, "the kill came too late: nothing was tried"
    server.start()
    harness.wait_for("everything is removed", lambda: rows(server, "SELECT count(*) FROM deletions") == 0, 60)
    assert lines_of(server, doomed) == 0 and lines_of(server, other) == LINES
    time.sleep(1)
    assert lines_of(server, doomed) == 0, "an agent wrote lines behind those that were deleted"
    print(f"\n    {left} lines were left when the server was killed")
