# SPDX-License-Identifier: Apache-2.0
"""A server that is killed while it removes old executions goes on with it: no execution loses its
statuses, and none that waits or is young is touched."""
import sqlite3
import time

import harness

OLD = 20_000
DAY = 24 * 3600 * 1000


def ask(server, sql, *values):
    with sqlite3.connect(f"file:{server.data}/drover.db?mode=ro", uri=True, timeout=30) as database:
        return database.execute(sql, values).fetchone()[0]


def fill(server, execution):
    """Copies of the one that is there: old ones that have ended, and as many that wait."""
    now = int(time.time() * 1000)
    with sqlite3.connect(server.data / "drover.db") as database:
        cursor = database.execute("SELECT * FROM executions WHERE id=?", (execution,))
        names = [column[0] for column in cursor.description]
        one = dict(zip(names, cursor.fetchone()))
        rows = []
        for number in range(2 * OLD):
            at = now - 30 * DAY + number
            more = {"id": f"{at:012x}{number:012x}", "created_at": at, "updated_at": at,
                    "status": "created" if number % 2 else "success",
                    # Nobody runs those that wait: their service is none.
                    "service_id": "0" * 24}
            rows.append(tuple({**one, **more}[name] for name in names))
        database.executemany(f"INSERT INTO executions({','.join(names)}) VALUES({','.join('?' * len(names))})", rows)
        database.execute("INSERT INTO execution_statuses(id,execution_id,status,timestamp)"
                         " SELECT 's'||id,id,status,created_at FROM executions WHERE service_id=?", ("0" * 24,))


def old_left(server):
    return ask(server, "SELECT count(*) FROM executions WHERE service_id=? AND status='success'", "0" * 24)


def orphans(server):
    return ask(server, "SELECT count(*) FROM execution_statuses WHERE execution_id NOT IN (SELECT id FROM executions)")


def bare(server):
    return ask(server, "SELECT count(*) FROM executions WHERE service_id=? AND 's'||id NOT IN"
                       " (SELECT id FROM execution_statuses)", "0" * 24)


def test_killed_while_it_removes(server):
    api = harness.Api(server, (server.data / "admin-key").read_text().strip())
    project = api.post("/projects", {"name": "kept"})["id"]
    service = harness.deploy_plain(api, project, "kept", "class ServiceRunner:\n    def run(self):\n        pass\n",
                                   {"run": {}})["id"]
    young = api.run(service)["id"]
    server.stop()
    fill(server, young)
    server.options.update({"keep-executions-days": "7", "collect": "1s"})
    server.start()
    kills, left = 0, OLD
    while left and kills < 8:
        harness.wait_for("some go", lambda before=left: old_left(server) < before, 60)
        server.kill()
        kills += 1
        left = old_left(server)
        assert orphans(server) == 0 and bare(server) == 0
        server.start()
    assert kills > 1, "the first kill came too late: nothing was tried"
    harness.wait_for("the old ones are gone", lambda: old_left(server) == 0, 120)
    assert ask(server, "SELECT count(*) FROM executions WHERE service_id=?", "0" * 24) == OLD
    assert ask(server, "SELECT count(*) FROM execution_statuses WHERE id LIKE 's%'") == OLD
    assert api.execution(young)["latestStatus"]["status"] == "success"
    assert ask(server, "PRAGMA integrity_check") == "ok"
    print(f"\n    {kills} kills, {left} were left at the last")
