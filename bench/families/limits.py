# SPDX-License-Identifier: Apache-2.0
"""What the parts could do by themselves on this machine, measured in the same minutes."""
import os
import re
import subprocess
import sys
import time

import harness
from support import process
from support.platform import ONE
from support.programs import ROOT, Failed, http_load, program, run


def disk(context):
    """Small appends, each with an fdatasync."""
    with context.scratch() as folder, (folder / "appended").open("wb", buffering=0) as file:
        times, end = [], time.monotonic() + min(2.0, context.sizes.seconds)
        while time.monotonic() < end:
            start = time.perf_counter()
            file.write(bytes(1024))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
        return {"fdatasync/s": len(times) / sum(times), "p50 ms": sorted(times)[len(times) // 2] * 1e3}


def sqlite_alone(context, seconds):
    """The p50 of one life in SQLite alone, ms: to be measured beside what depends on the disk's mood."""
    with context.scratch() as folder:
        text = run([program("sqlite_floor"), folder, seconds, 1])
    return float(re.search(r"p50 ([\d.]+) ms", text)[1])


def sqlite(context):
    """SQLite alone: a plain table, three synced commits for each group of executions (sqlite_floor.c)."""
    with context.scratch() as folder:
        text = run([program("sqlite_floor"), folder, min(1.5, context.sizes.seconds)])
    found = {}
    for group, rate, cpu, p50, p99 in re.findall(
            r"groups of (\d+): (\d+) lives/s, ([\d.]+) us CPU each, p50 ([\d.]+) ms, p99 ([\d.]+) ms", text):
        found.update({f"lives/s, groups of {group}": float(rate), f"CPU us/life, groups of {group}": float(cpu)})
        if group == "1":
            found.update({"p50 ms, groups of 1": float(p50), "p99 ms, groups of 1": float(p99)})
    if not found:
        raise Failed(f"sqlite_floor said: {text[-300:]}")
    return found


def store(context):
    """The store alone: whole lives of executions, so many in flight (store_bench.c)."""
    with context.scratch() as folder:
        text = run([program("store_bench"), folder / "store", min(1.5, context.sizes.seconds)])
    found = {}
    for width, rate, cpu in re.findall(r"(\d+) in flight:\s+(\d+) executions/s\s+([\d.]+) us", text):
        found[f"executions/s, {width} in flight"] = float(rate)
        found[f"CPU us/execution, {width} in flight"] = float(cpu)
    if not found:
        raise Failed(f"store_bench said: {text[-300:]}")
    return found


def http(context):
    """libmicrohttpd with nothing behind it (http_floor.c), and this server's /healthz."""
    port = harness.free_port()
    floor = subprocess.Popen([program("http_floor"), str(port)])
    try:
        harness.wait_for("http_floor listens", lambda: not harness.socket.socket().connect_ex(("127.0.0.1", port)), 5)
        cpu = process.Cpu([floor.pid])
        bare = http_load(port, "/", ONE, seconds=min(2, context.sizes.seconds), status=201)
        spent = cpu.spent()
    finally:
        floor.kill()
        floor.wait()
    with context.platform() as platform:
        cpu = process.Cpu([platform.pid], alone=True)
        own = http_load(platform.server.port, "/healthz", "", method="GET", seconds=min(2, context.sizes.seconds))
        return {"POST/s, libmicrohttpd alone": bare["requests"] / bare["seconds"],
                "CPU us/request, libmicrohttpd alone": spent * 1e6 / bare["requests"],
                "GET /healthz/s": own["requests"] / own["seconds"],
                "CPU us/request, GET /healthz": cpu.spent() * 1e6 / own["requests"]}


def runner(context):
    """The Python runner alone, invoked through its frames (runner_calls.py)."""
    count = int(max(context.sizes.seconds * 5000, 1000))
    text = run([sys.executable, ROOT / "bench" / "runner_calls.py", "--runner", harness.BUILD / "runner", "--count", count])
    found = {}
    for depth, rate, cpu in re.findall(r"(\d+) at a time: (\d+) invokes/s, ([\d.]+) us", text):
        found[f"calls/s, {depth} at a time"] = float(rate)
        found[f"CPU us/call, {depth} at a time"] = float(cpu)
    return found
