#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Says where the CPU time of one execution goes: by thread of server, agent and runner; with --perf also by
library and by function (needs perf).

  python3 bench/breakdown.py arrays          enqueue by arrays of 100, then drain: two tables
  python3 bench/breakdown.py single --perf   single requests on 64 connections
  python3 bench/breakdown.py idle            one after the other
"""
import argparse
import collections
import contextlib
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import run  # noqa: I001  makes sure of the tests' environment, and finds the parts of the measurements
import harness
from support import process, sizes
from support.platform import ONE, Context, array

assert run.ROOT and harness.BUILD


def threads(pids):
    """{(pid, thread): (process and thread names, CPU seconds, context switches)}"""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            program = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                fields = (task / "stat").read_text().rpartition(")")[2].split()
                switches = re.findall(r"ctxt_switches:\s+(\d+)", (task / "status").read_text())
                name = (task / "comm").read_text().strip()
                found[pid, task.name] = (program if name == program else f"{program}: {name}",
                                         (int(fields[11]) + int(fields[12])) / process.TICKS, sum(map(int, switches)))
    return found


class Breakdown:
    """From its making to `show`."""

    def __init__(self, platform, perf):
        self.pids, self.recorder = process.descendants(platform.roots()), None
        self.platform, self.ended = platform, platform.ended()
        self.data = pathlib.Path(tempfile.gettempdir()) / "drover-profile.data"
        if perf:
            self.recorder = subprocess.Popen(["perf", "record", "-q", "-F", "999", "-g", "-o", self.data, "-p",
                                              ",".join(map(str, self.pids))], stderr=subprocess.DEVNULL)
            time.sleep(0.5)
        self.before, self.start = threads(self.pids), time.monotonic()

    def show(self, title, count=None):
        took = time.monotonic() - self.start
        count = count or self.platform.ended() - self.ended
        print(f"\n{title}: {count:,} executions, {count / took:,.0f}/s\n")
        print("| thread | threads | CPU µs/execution | context switches/execution |\n| --- | --- | --- | --- |")
        rows, total = collections.defaultdict(lambda: [0, 0.0, 0]), 0.0
        for key, (name, seconds, switches) in threads(self.pids).items():
            _, old_seconds, old_switches = self.before.get(key, ("", 0.0, 0))
            row = rows[name]
            row[0], row[1], row[2] = row[0] + 1, row[1] + seconds - old_seconds, row[2] + switches - old_switches
        for name, (number, seconds, switches) in sorted(rows.items(), key=lambda item: -item[1][1]):
            total += seconds
            if seconds * 1e6 / count > 0.5:
                print(f"| {name} | {number} | {seconds * 1e6 / count:.1f} | {switches / count:.2f} |")
        print(f"| all | | {total * 1e6 / count:.1f} | |", flush=True)
        if self.recorder:
            self.recorder.send_signal(signal.SIGINT)
            self.recorder.wait()
            for title, keys in (("library", "comm,dso"), ("function", "dso,symbol")):
                print(f"\n| share | {title} |\n| --- | --- |")
                report = subprocess.run(["perf", "report", "-i", self.data, "--no-children", "-g", "none", "--sort", keys],
                                        capture_output=True, text=True, check=False).stdout
                lines = [line.split(None, 1) for line in report.splitlines() if re.match(r"\s+\d", line)]
                for share, what in lines[:20]:
                    print(f"| {share} | {re.sub(r'  +', ' ', what.replace(' - -', '')).strip(' -')} |")
            self.data.unlink()


def arrays(platform, seconds, perf):
    """Enqueued while the service is paused, then drained: each phase alone."""
    service = platform.deploy()
    warm = platform.load(service, array(100), seconds=1, connections=64)
    platform.wait_ended(warm["requests"] * 100)
    platform.api.post(f"/services/{service}/stop")
    time.sleep(1)
    found = Breakdown(platform, perf)
    loaded = platform.load(service, array(100), seconds=seconds, connections=4)
    found.show("accepting arrays of 100", loaded["requests"] * 100)
    platform.api.post(f"/services/{service}/resume")
    platform.ready(service)
    found = Breakdown(platform, perf)
    platform.wait_ended(found.ended + loaded["requests"] * 80)
    found.show("draining")


def single(platform, seconds, perf):
    service = platform.deploy()
    warm = platform.load(service, ONE, seconds=1, connections=64)
    platform.wait_ended(warm["requests"])
    found = Breakdown(platform, perf)
    loaded = platform.load(service, ONE, seconds=seconds, connections=64)
    platform.wait_ended(found.ended + loaded["requests"])
    found.show("single requests on 64 connections")


def idle(platform, seconds, perf):
    service = platform.deploy()
    wait = "?waitUntilExecutionIsFinished=true"
    platform.load(service, ONE, path=wait, seconds=1, connections=1)
    found = Breakdown(platform, perf)
    platform.load(service, ONE, path=wait, seconds=seconds, connections=1)
    found.show("one after the other")


def main():
    kinds = {"arrays": arrays, "single": single, "idle": idle}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--perf", action="store_true", help="also by library and function")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the load (default 5)")
    parser.add_argument("--folder", default="/var/tmp", help="where the server's data goes (default /var/tmp)")
    args = parser.parse_args()
    if args.perf and not shutil.which("perf"):
        parser.error("perf is not there (Debian: apt-get install linux-perf)")
    with tempfile.TemporaryDirectory(prefix="drover-profile-", dir=args.folder) as folder:
        with Context(folder, sizes.USUAL, print).platform() as platform:
            kinds[args.kind](platform, args.seconds, args.perf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
