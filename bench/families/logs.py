# SPDX-License-Identifier: Apache-2.0
"""Lines that functions print: how many a second, what one costs, and how long a search for one takes."""
import json
import re
import time

from families.history import ask
from support import process, stats
from support.programs import Failed, program, run


def last_stored(platform, service):
    """When the newest line was seen first; returns once it has stayed the newest for a while."""
    newest, seen = None, time.monotonic()
    while time.monotonic() < seen + 0.5:
        found = platform.api.post("/services/logs", {"serviceId": service, "size": 1, "direction": "desc"})["logs"]
        key = found and (found[0]["executionId"], found[0]["timestamp"], found[0]["message"])
        if key != newest:
            newest, seen = key, time.monotonic()
        time.sleep(0.02)
    return seen


def lines(context):
    each = min(1000, context.sizes.lines)
    executions = max(context.sizes.lines // each, 1)
    total = each * executions
    with context.platform() as platform:
        service = platform.deploy()
        body = json.dumps([{"functionName": "talk", "input": {"lines": each}}] * min(executions, 100))
        platform.load(service, '{"functionName":"talk","input":{"lines":10}}', connections=1, count=1)
        platform.wait_ended(1)
        platform.quiet()
        everything, server = process.Cpu(platform.roots()), process.Cpu([platform.pid], alone=True)
        start = time.monotonic()
        platform.load(service, body, connections=1, count=executions // min(executions, 100))
        platform.wait_ended(1 + executions // min(executions, 100) * min(executions, 100))
        took = last_stored(platform, service) - start
        platform.quiet()
        found = {"lines/s": total / took, "CPU us/line": everything.spent() * 1e6 / total,
                 "CPU us/line, server": server.spent() * 1e6 / total}
        found["disk bytes/line"] = sum(process.disk_bytes(path) if path.is_dir() else path.stat().st_size
                                       for path in platform.server.data.glob("logs*")) / total
        for name, text in (("a rare text", f"line {each - 1} of some"), ("a text that is nowhere", "no such text"),
                           ("a common text", "of some length")):
            question = {"serviceId": service, "text": text, "size": 100, "direction": "desc"}
            answer = platform.api.post("/services/logs", question)
            if bool(answer["logs"]) == (name == "a text that is nowhere"):
                raise Failed(f"a search for '{text}' gave {len(answer['logs'])} lines")
            times = ask(platform, "/services/logs", question, context.sizes.queries)
            for figure, value in stats.percentiles(times, 0.5, 0.99).items():
                found[f"search of {name}, {figure}"] = value
        return found


DAYS = 10


def long_history(context):
    """As many lines as executions in `history`, over some days: first pages and searches of the store (log_bench.c)."""
    with context.scratch() as folder:
        text = run([program("log_bench"), folder, context.sizes.history, DAYS], timeout=3600)
    found = {}
    for name, p50, p99 in re.findall(r"^(\S.*?) +p50 +([\d.]+) ms +p99 +([\d.]+) ms", text, re.MULTILINE):
        found.update({f"{name}, p50 ms": float(p50), f"{name}, p99 ms": float(p99)})
    if stored := re.search(r"^stored: .*, (\d+) lines/s, CPU ([\d.]+) us a line", text, re.MULTILINE):
        found.update({"stored lines/s": float(stored[1]), "CPU us/line stored": float(stored[2])})
    if not found:
        raise Failed(f"log_bench said: {text[-300:]}")
    return found
