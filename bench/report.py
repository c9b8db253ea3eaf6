#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/performance.md and its pictures from a result of bench/run.py, so that every figure there has the
command that made it.

  python3 bench/report.py bench/results/DATE.json
"""
import argparse
import json
import pathlib
import re
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests"), str(ROOT / "tools")]

from support import picture, table  # noqa: E402
from workloads import BY_NAME, NOISY  # noqa: E402

INTRODUCTION = """# Performance

What Drover does on one machine, what other systems do on the same machine in the same hour, and what the
machine's parts would allow. `make bench` measures all of it and needs nothing set up by hand;
`bench/report.py` wrote this page from the result of

    {command}

on {when}, Drover `{drover}`.

{machine}
- sizes: {sizes}

Figures of one such run may be compared with each other, as ratios. Those of other machines, or of other
hours of a shared machine, may not: measure again there.
"""

METHOD = """## Method

- A figure is the median of {runs} runs, with the smallest and the largest behind it; where a run builds much
  (a million rows), it takes its samples within one run. The runs of all workloads, peers and limits are
  interleaved, so that all see the same minutes. What was measured again at another hour is compared only with
  what was measured beside it then.
- Every workload of Drover gets a fresh server on an empty data folder, with the options that a user gets
  (`--log-level warn`), and runs through the public HTTP API. Latencies are measured when the server is at rest.
- The function is a no-op in Python. "executions/s" counts from the first request to the moment when the last
  result is recorded and synced; "accepted/s" counts the answers of 201, which come after the commit.
- CPU per execution is that of all processes (server, supervisor, agent, runner, or brokers and workers) from
  the kernel's counters; the client's is a figure of its own. Other load on the machine moves it much less than
  it moves rates.
- The load generator is `bench/http_load.c`, one thread. In the open loop requests fall due at a fixed rate, and a
  latency counts from when a request was due, so that a stall is charged with all that waited for it.
- Client, server, agent and function share the cores of the machine.
"""

PEERS = """### What is compared with what

| system | kept when a task is accepted | kept when its result is there | client of the measurement |
| --- | --- | --- | --- |
| Drover | synced (SQLite, `synchronous=FULL`) | synced | HTTP, 64 connections; one Python client for like with like |
| Celery | synced by RabbitMQ, confirmed | redis, synced each second | one Python process |
| Celery, best | written by RabbitMQ, nobody waits for it | redis, synced each second | one Python process |
| Dramatiq | synced by RabbitMQ, confirmed | redis, synced each second | one Python process |
| RQ | redis, synced each second | redis, synced each second | one Python process |
| BullMQ | redis, synced | redis, synced | in the worker's own process, 64 in flight |

So a power failure costs the last second of results with Celery, Dramatiq and RQ, and of tasks with RQ; nothing
with Drover. BullMQ runs JavaScript within the client's process: no Python, no second process; it is a peer for rates
only. The Python peers' rates are bound by their one client more than by their brokers; `one-client` is the
row of Drover that is like theirs, and CPU per execution is the comparison that no client distorts.
"""

CAVEATS = """## What to keep in mind

- The machine is shared and virtual: its disk may acknowledge from a cache of the host. The number of syncs per
  execution (`commits`) is what carries over to another disk.
- Rates at full load say what the cores give, with the client on them. A separate client machine would give more.
- Peers run with the settings above and ten threads; each has more knobs than were turned.
- RSS counts shared pages in every process that has them, PSS divides them among those, private is without them.
  A replica is three processes of which much is shared, so its target is of PSS.
"""

# heading, text, workloads
SECTIONS = (
    ("End to end", "No-op executions, durable, until the last result is stored.",
     ("single", "arrays", "accept", "enqueue", "one-client", "dtlpy")),
    ("Round trips", "From the request to the result in the client's hands "
     "(`POST /executions/{{serviceId}}?waitUntilExecutionIsFinished=true`).", ("idle", "commits", "half-load")),
    ("Peers", "", ("celery", "celery-best", "dramatiq", "rq", "bullmq")),
    ("Limits", "What the parts do by themselves.", ("disk", "sqlite", "store", "http", "runner")),
    ("A long queue", "{queued:,} executions of a paused service wait while another service works.", ("queue",)),
    ("A long history", "{history:,} executions that have ended, over 90 days, eight services and ten functions.", ("history",)),
    ("Many log lines", "{history:,} lines over ten days, of a hundred services; a hundred of them are asked for at a time.", ("log-history",)),
    ("Many services", "{services:,} services, half of them paused, half active without replicas.", ("services",)),
    ("Memory", "", ("resident",)),
    ("Logs", "Functions that print a thousand lines each.", ("logs",)),
    ("A slow disk", "Five milliseconds more for each fsync (`bench/slow_sync.c`); the cost of preloading is in both.",
     ("slow-disk",)),
    ("Faults", "", ("server-killed", "agent-killed")),
    ("Growth", "The rate and the CPU per execution along one axis at a time.", ("clients", "service-count", "depth", "agents")),
)
COLUMNS = ["figure", "median", "min – max", "must / goal", "reached", "ratio to the best peer and to limits"]


def cells(row):
    _, figure, median, low, high, bound, verdict, ratios = table.cells(row)
    return [figure, median, f"{low} – {high}", bound, verdict, ratios]


def figures(rows):
    """A table of figures, without the columns that would be empty."""
    used = [i for i in range(len(COLUMNS)) if any(cells(row)[i] for row in rows)]
    return table.markdown(rows, [COLUMNS[i] for i in used], lambda row: [cells(row)[i] for i in used])


def machine(facts):
    skipped = ("when", "drover")
    return "\n".join(f"- {name}: {fact(facts, name)}" for name in facts if name not in skipped)


def fact(facts, name):
    value = facts[name]
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if name == "load before" and value > facts["cores"]:
        text += " (more than the cores: the machine was not quiet when this began)"
    return text


def section(result, found, heading, text, names):
    """One part of the page; empty when nothing of it was measured."""
    parts = []
    for name in names:
        rows = [row for row in found if row["workload"] == name]
        if rows:
            parts += [f"**{BY_NAME[name].title}** (`python3 bench/run.py {name}`)",
                      figures(rows)]
        elif name in result["failed"]:
            parts.append(f"**{BY_NAME[name].title}**: failed: {result['failed'][name][0].splitlines()[-1]}")
    return "\n\n".join([f"## {heading}"] + ([text.format(**result["sizes"])] if text else []) + parts) if parts else ""


def median(result, workload, figure):
    values = result["figures"].get(workload, {}).get(figure)
    return statistics.median(values) if values else None


def where_time_goes(result):
    """The CPU of one execution of `single`, by what the parts cost alone."""
    total = median(result, "single", "CPU us/execution")
    parts = [("HTTP: one request of libmicrohttpd alone", median(result, "http", "CPU us/request, libmicrohttpd alone")),
             ("the store: one whole life, 64 in flight", median(result, "store", "CPU us/execution, 64 in flight")),
             ("the runner: one call, ten at a time", median(result, "runner", "CPU us/call, 10 at a time"))]
    known, missing = [part for part in parts if part[1]], [part[0].partition(":")[0] for part in parts if not part[1]]
    rest = (total or 0) - sum(part[1] for part in known)
    if not known or rest < 0:  # parts that take more than the whole were measured in other circumstances
        return ""
    known.append((f"the rest: {', '.join([*missing, 'API, dispatch, the agent and its link'])}", rest))
    lines = [f"| {name} | {table.number(value)} | {value / total:.0%} |" for name, value in known]
    trip, syncs = median(result, "idle", "p50 ms"), table.reference(result, "idle", ("disk", "p50 ms"))
    commits = median(result, "commits", "fsyncs/execution")
    text = ("## Where the time goes\n\nOf the CPU of one execution under load (`single`); each part measured alone, with its own "
            "batching:\n\n")
    text += "| part | µs | share |\n| --- | --- | --- |\n" + "\n".join(lines)
    if trip and syncs and commits:
        sync = statistics.median(syncs)
        text += (f"\n\nOne execution alone takes {table.number(trip)} ms; its {commits:.0f} syncs of {table.number(sync)} ms each "
                 f"are {min(commits * sync / trip, 1):.0%} of that. Many together share their commits, and are bound by CPU.")
    return text


def summary(found):
    """All that has a target, in short."""
    rows = [row for row in found if "must" in row]
    missed = [row for row in rows if row["verdict"] == "NOT MET"]
    unclear = [row for row in rows if row["verdict"] == NOISY]
    lines = ["## Targets", f"{len(rows) - len(missed) - len(unclear)} of {len(rows)} targets are met, "
             f"{sum(row['verdict'] == 'goal' for row in rows)} reach their goal. Not met: {len(missed)}."
             + (f" Not comparable: {len(unclear)}, for what they are compared with varied by more than "
                f"{table.NOISE:g}×." if unclear else "")]
    lines.append("The bounds were set on a machine where SQLite alone did 61,400 lives a second in groups of 100, and one "
                 "life in 0.40 ms. \"Met for its limit\" says that this machine's SQLite (`sqlite`; for `idle` SQLite "
                 "alone beside it, in the same seconds) is slower by that factor, and that Drover loses no more than it.")
    lines.append(table.markdown(rows, ["workload", *COLUMNS], lambda row: [row["title"], *cells(row)]))
    return "\n\n".join(lines)


def pictures(result, folder, prefix):
    """Writes the growth curves; gives the Markdown that shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = []
    for axis, curves in result["curves"].items():
        for figure, title in (("executions/s", "Executions per second"), ("CPU us/execution", "CPU per execution, µs")):
            name = f"growth-{axis}-{'rate' if figure == 'executions/s' else 'cpu'}.svg"
            data = picture.points(curves, figure)
            if len(data) > 1:
                (folder / name).write_text(picture.curve(f"{title}, by {picture.AXES[axis]}", picture.AXES[axis], data))
                shown.append(f"![{title} by {picture.AXES[axis]}]({prefix}/{name})")
    return "\n".join(shown)


def page(result, folder, prefix):
    found = table.rows(result, BY_NAME)
    sizes = ", ".join(f"{name} {value:,}" for name, value in result["sizes"].items() if not isinstance(value, list))
    parts = [INTRODUCTION.format(command=result["command"], machine=machine(result["machine"]), sizes=sizes, **{
        name: result["machine"][name] for name in ("when", "drover")}),
        summary(found), METHOD.format(runs=result["sizes"]["runs"])]
    for heading, text, names in SECTIONS:
        one = section(result, found, heading, text, names)
        if one and heading == "Growth":
            one += "\n\n" + pictures(result, folder, prefix)
        if one and heading == "Peers":
            one += "\n\n" + PEERS
        parts.append(one)
    parts += [where_time_goes(result), (HERE / "goals.md").read_text(), CAVEATS]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(part.strip("\n") for part in parts if part)) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", help="a result of bench/run.py")
    parser.add_argument("--doc", default=str(ROOT / "docs" / "performance.md"),
                        help="where the page goes (default docs/performance.md)")
    args = parser.parse_args()
    doc = pathlib.Path(args.doc)
    try:
        result = json.loads(pathlib.Path(args.result).read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"{args.result} is not a result of bench/run.py: {error}")
    doc.write_text(page(result, doc.parent / "pictures", "pictures"))
    print(f"wrote {doc}")


if __name__ == "__main__":
    main()
