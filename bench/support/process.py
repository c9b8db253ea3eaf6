# SPDX-License-Identifier: Apache-2.0
"""What processes cost: CPU time and memory of trees of them, from /proc."""
import contextlib
import os
import pathlib
import re
import time

TICKS = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """The fields of /proc/PID/stat after the name: [0] state, [1] parent, [11]… times. None: it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def descendants(roots):
    """The living processes among roots and all that descends from them."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat(entry.name)):
            parents[int(entry.name)] = int(fields[1])
    found = {pid for pid in roots if pid in parents}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        if not more:
            return found
        found |= more


class Cpu:
    """CPU seconds of process trees between two moments, with what ended meanwhile as far as a living
    parent has reaped it."""

    def __init__(self, roots, alone=False):
        self.roots, self.alone = set(roots), alone  # alone: without what descends from them
        self.before = self.read()
        self.start = time.monotonic()

    def read(self):
        used = {}
        for pid in self.roots if self.alone else descendants(self.roots):
            if fields := stat(pid):
                used[pid] = sum(map(int, fields[11:15])) / TICKS
        return used

    def spent(self):
        return sum(seconds - self.before.get(pid, 0) for pid, seconds in self.read().items())

    def percent(self):
        """Of one core, since the start."""
        return self.spent() / (time.monotonic() - self.start) * 100


def memory(pid):
    """(resident, proportional, private) MiB; zeros when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0, 0.0

    def value(name):
        return sum(int(n) for n in re.findall(rf"^{name}:\s+(\d+)", text, re.M)) / 1024
    return value("Rss"), value("Pss"), value("Private_Clean") + value("Private_Dirty")


def disk_bytes(folder):
    """What the files under a folder take on the disk."""
    total = 0
    for path in pathlib.Path(folder).rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                total += path.stat().st_blocks * 512
    return total
