# SPDX-License-Identifier: Apache-2.0
"""Many executions that have ended: lists, counts and filters through the API."""
import datetime
import http.client
import json
import time

from support import process, stats
from support.programs import Failed, program, run

DAYS = 90


def history(context):
    rows = context.sizes.history
    with context.platform() as platform:
        services = [platform.create(active=False) for _ in range(8)]
        project = platform.api.get(f"/projects/{platform.project}")
        platform.server.stop()
        context.say(f"loading {rows:,} rows")
        start = time.monotonic()
        run([program("history_load"), platform.server.data, rows, DAYS, project["id"],
             (project.get("org") or {}).get("id", "65a0000000000000000000aa"), ",".join(services)], timeout=3600)
        loaded = time.monotonic() - start
        started = time.monotonic()
        platform.server.start()
        found = {"ready, s": time.monotonic() - started, "loaded rows/s": rows / loaded,
                 "disk bytes/row": process.disk_bytes(platform.server.data) / rows}
        total = platform.api.post("/query/faas", query(project["id"], size=0))["totalItemsCount"]
        if total != rows:
            raise Failed(f"{total} of {rows} rows are listed")
        for name, path, body in questions(project["id"], services, rows):
            context.say(name)
            times = ask(platform, path, body, context.sizes.queries)
            for figure, value in stats.percentiles(times, 0.5, 0.99).items():
                found[f"{name}, {figure}"] = value
        found["server RSS MiB, after them"] = process.memory(platform.pid)[0]
        return found


def query(project, filter_=None, page=0, size=100, **more):
    return {"resource": "executions", "filter": {"projectId": project, **(filter_ or {})}, "page": page, "pageSize": size,
            "sort": {"createdAt": "descending"}, **more}


def questions(project, services, rows):
    """(name, path, body) of each question."""
    day = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=10)).strftime("%Y-%m-%d")
    next_day = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=9)).strftime("%Y-%m-%d")
    one_day = {"createdAt": {"$gte": day + "T00:00:00.000Z", "$lt": next_day + "T00:00:00.000Z"}}
    filters = {"first page": {}, "by status": {"latestStatus.status": "failed"}, "by function": {"functionName": "f3"},
               "by service": {"serviceId": services[0]}, "by service and status": {"serviceId": services[0],
                                                                                  "latestStatus.status": "terminated"},
               "by day": one_day}
    for name, filter_ in filters.items():
        yield name, "/query/faas", query(project, filter_)
    yield "page in the middle", "/query/faas", query(project, page=rows // 200)
    yield "last page", "/query/faas", query(project, page=max(rows // 100 - 1, 0))
    yield "count of all", "/query/faas", query(project, size=0)
    yield "count by status", "/query/faas", query(project, filters["by status"], size=0)
    yield "count by function", "/query/faas", query(project, filters["by function"], size=0)
    yield "count of a day", "/query/faas", query(project, one_day, size=0)
    yield "counters of a service", f"/executions/counters?serviceId={services[0]}", None


def ask(platform, path, body, count, seconds=20):
    """Seconds of each of count questions, asked one after the other; fewer when they are slow."""
    connection = http.client.HTTPConnection("127.0.0.1", platform.server.port, timeout=300)
    headers, times, end = {"authorization": f"Bearer {platform.token}"}, [], time.monotonic() + seconds
    while len(times) < count and (time.monotonic() < end or len(times) < 3):
        start = time.perf_counter()
        connection.request("POST" if body else "GET", "/api/v1" + path, json.dumps(body) if body else None,
                           {**headers, **({"content-type": "application/json"} if body else {})})
        answer = connection.getresponse()
        text = answer.read()
        times.append(time.perf_counter() - start)
        if answer.status != 200:
            raise Failed(f"{path}: {answer.status} {text[:300]!r}")
    connection.close()
    return times
