#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures a whole Drover through its public API, and the limits of the machine beside it (`make bench`).

Each workload runs --runs times, the limits between them, and a table of medians with the smallest and the
largest is printed and kept, with the machine's facts, in bench/results/. Figures of one run may be compared
with each other, as ratios; those of different machines or hours may not.

Examples:
  make bench                               everything, 5 runs
  python3 bench/run.py --runs 3 single     one workload
"""
import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]
try:
    import harness
except ModuleNotFoundError:  # go on in the tests' environment, which has what harness needs
    import run_tests
    run_tests.make_venv()
    os.execv(run_tests.venv_python(), [str(run_tests.venv_python()), *sys.argv])

SECONDS = 6  # of one load
TICKS = os.sysconf("SC_CLK_TCK")
CODE = "class ServiceRunner:\n    def run(self, n):\n        return n\n"


# ── what a process tree costs ────────────────────────────────────────────────────────────────


def members(server):
    """The server's process and all that descends from its agents' supervisors, by pid."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {server.process.pid} | {one["pid"] for one in server.supervisors().values()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        if not more:
            return found
        found |= more


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(pid):
    """Resident and proportional memory in MiB."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return tuple(int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1]) / 1024 for name in ("Rss", "Pss"))


# ── the platform under measurement ───────────────────────────────────────────────────────────


class Bench:
    def __init__(self, folder):
        self.server = harness.Server(folder)
        self.server.options = {"log-level": "warn"}  # as a user runs it, but for the chatter
        self.server.start()
        self.api = harness.Api(self.server, (self.server.data / "admin-key").read_text().strip())
        self.project = self.api.post("/projects", {"name": "bench"})["id"]
        self.serial = 0

    def deploy(self, **settings):
        self.serial += 1
        service = harness.deploy_plain(self.api, self.project, f"bench-{self.serial}", CODE, {"run": {"n": "Json"}},
                                       runtime={"concurrency": 10}, **settings)
        if settings.get("active", True):
            self.api.ready(service["id"])
        return service["id"]

    def remove(self, service):
        self.api.delete(f"/services/{service}?force=true")

    def ended(self, service):
        counts = self.api.get(f"/executions/counters?serviceId={service}")
        return sum(counts.get(status, 0) for status in harness.FINAL), sum(counts.values())


def wrk(bench, service, batch, seconds=SECONDS, connections=64):
    """Posts no-op executions as fast as they are accepted. Returns (requests, seconds)."""
    one = '{"functionName":"run","input":{"n":1}}'
    body = one if batch == 1 else "[" + ",".join([one] * batch) + "]"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        token = bench.api.session.headers["authorization"]
        script.write(f'wrk.method="POST"\nwrk.body=[=[{body}]=]\nwrk.headers["content-type"]="application/json"\n'
                     f'wrk.headers["authorization"]="{token}"\n'
                     "function done(s, l, r) io.write(string.format('COUNT %d %d %d\\n', s.requests, s.duration, "
                     "s.errors.status + s.errors.read + s.errors.write + s.errors.timeout)) end\n")
        script.flush()
        text = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name,
                               f"{bench.server.url}/api/v1/executions/{service}"],
                              check=True, capture_output=True, text=True).stdout
    requests, micros, errors = map(int, re.search(r"COUNT (\d+) (\d+) (\d+)", text).groups())
    if errors:
        raise SystemExit(f"{errors} requests failed:\n{text}")
    return requests, micros / 1e6


# ── workloads: each gives {figure: value} ────────────────────────────────────────────────────


def load(bench, batch):
    """From the first request to the last result, every execution durable and its result stored."""
    service = bench.deploy()
    wrk(bench, service, batch, seconds=1)  # warm
    while bench.ended(service)[0] < bench.ended(service)[1]:
        time.sleep(0.02)
    pids = members(bench.server)
    before, already, start = cpu_seconds(pids), bench.ended(service)[1], time.monotonic()
    requests, seconds = wrk(bench, service, batch)
    while True:
        ended, total = bench.ended(service)
        if ended == total:
            break
        time.sleep(0.02)
    took, spent = time.monotonic() - start, cpu_seconds(members(bench.server) | pids) - before
    done = total - already
    bench.remove(service)
    return {"executions/s": done / took, "accepted/s": requests * batch / seconds, "CPU us/execution": spent * 1e6 / done}


def accept(bench, batch=1):
    """The 201 after the commit alone: the service is paused."""
    service = bench.deploy(active=False)
    before = cpu_seconds([bench.server.process.pid])
    requests, seconds = wrk(bench, service, batch)
    spent = cpu_seconds([bench.server.process.pid]) - before
    bench.remove(service)
    return {"accepted/s": requests * batch / seconds, "CPU us/execution": spent * 1e6 / (requests * batch)}


def percentiles(times):
    times = sorted(times)
    return {"p50 ms": times[len(times) // 2] * 1e3, "p99 ms": times[len(times) * 99 // 100] * 1e3}


def round_trips(bench, service, count):
    path = f"/executions/{service}?waitUntilExecutionIsFinished=true"
    times = []
    for number in range(count):
        start = time.perf_counter()
        execution = bench.api.post(path, {"functionName": "run", "input": {"n": number}})
        times.append(time.perf_counter() - start)
        assert execution["latestStatus"]["status"] == "success"
    return times


def idle(bench):
    """One execution after the other, from the request to the result in the client's hands."""
    service = bench.deploy()
    round_trips(bench, service, 50)
    found = percentiles(round_trips(bench, service, 1000))
    bench.remove(service)
    return found


def resident(bench):
    """A server and one replica that wait."""
    service = bench.deploy()
    time.sleep(3)
    found = {"server RSS MiB": memory(bench.server.process.pid)[0]}
    replica = next(iter(bench.server.supervisors().values()))
    found["agent RSS MiB"] = memory(replica["agentPid"])[0]
    pids = members(bench.server) - {bench.server.process.pid}
    found["replica PSS MiB, all its processes"] = sum(memory(pid)[1] for pid in pids)
    before, start = cpu_seconds([bench.server.process.pid]), time.monotonic()
    time.sleep(5)
    found["server CPU % while idle"] = (cpu_seconds([bench.server.process.pid]) - before) / (time.monotonic() - start) * 100
    bench.remove(service)
    return found


def commit_limit(folder):
    """What the disk gives: small appends, each with an fdatasync."""
    path, count = pathlib.Path(folder) / "fsync", 0
    with path.open("wb", buffering=0) as file:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            file.write(bytes(1024))
            os.fdatasync(file.fileno())
            count += 1
    path.unlink()
    return {"fdatasync/s": count / 2}


WORKLOADS = {
    "single": ("single POSTs on 64 connections, 10 slots", lambda bench, _: load(bench, 1)),
    "arrays": ("arrays of 100 on 64 connections, 10 slots", lambda bench, _: load(bench, 100)),
    "accept": ("durable accept alone, single POSTs", lambda bench, _: accept(bench)),
    "idle": ("round trip at idle, sequential", lambda bench, _: idle(bench)),
    "resident": ("memory and CPU at rest", lambda bench, _: resident(bench)),
    "limit": ("the disk: 1 KiB appends", lambda _, folder: commit_limit(folder)),
}


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {"when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "version": git.stdout.strip(), "cpu": model[1] if model else platform.machine(), "cores": os.cpu_count(),
            "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": platform.platform(), "load before": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help=f"of: {', '.join(WORKLOADS)} (all when none is named)")
    parser.add_argument("--runs", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--no-file", action="store_true", help="only print")
    args = parser.parse_args()
    names = args.workloads or list(WORKLOADS)
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        parser.error(f"there is no workload {unknown[0]}")
    facts, figures = machine(), {}
    with tempfile.TemporaryDirectory(prefix="drover-bench-") as folder:
        bench = Bench(pathlib.Path(folder) / "server")
        try:
            for run in range(args.runs):  # interleaved, so that all see the same minutes
                for name in names:
                    print(f"run {run + 1}/{args.runs}: {WORKLOADS[name][0]}", file=sys.stderr, flush=True)
                    for figure, value in WORKLOADS[name][1](bench, folder).items():
                        figures.setdefault(name, {}).setdefault(figure, []).append(value)
        finally:
            problems = bench.server.close()
    for line in problems:
        print(f"at the end: {line}", file=sys.stderr)
    print(f"\n{'workload':44} {'figure':34} {'median':>10} {'min':>10} {'max':>10}")
    for name in names:
        for figure, values in figures[name].items():
            print(f"{WORKLOADS[name][0]:44} {figure:34} {statistics.median(values):10.2f} {min(values):10.2f} {max(values):10.2f}")
    if not args.no_file:
        path = ROOT / "bench" / "results" / f"{facts['when'][:19].replace(':', '')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"machine": facts, "figures": figures}, indent=1) + "\n")
        print(f"\nkept in {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
