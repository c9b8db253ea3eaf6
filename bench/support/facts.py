# SPDX-License-Identifier: Apache-2.0
"""What the machine is and what else it does."""
import contextlib
import datetime
import os
import pathlib
import platform
import re
import sqlite3
import subprocess
import sys
import time

from support.programs import ROOT


def say_version(*command):
    with contextlib.suppress(OSError, subprocess.TimeoutExpired, IndexError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return (done.stdout or done.stderr).strip().splitlines()[0]
    return None


def file_system(folder):
    """(device, type) of where a folder lies."""
    best = ("", "", "")
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        device, place, kind = line.split()[:3]
        if (str(folder) + "/").startswith(place.rstrip("/") + "/") and len(place) >= len(best[1]):
            best = device, place, kind
    return best[0], best[2]


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def machine(folder):
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    git = subprocess.run(["git", "describe", "--always", "--dirty", "--tags"], cwd=ROOT, capture_output=True, text=True,
                         check=False)
    device, kind = file_system(pathlib.Path(folder).resolve())
    facts = {"when": now(),
             "drover": git.stdout.strip(), "cpu": model[1] if model else platform.machine(), "cores": os.cpu_count(),
             "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
             "system": platform.platform(), "disk": f"{kind} on {device}", "Python": sys.version.split()[0],
             "SQLite": sqlite3.sqlite_version}
    for name, package in (("libmicrohttpd", "libmicrohttpd12"), ("RabbitMQ", "rabbitmq-server"), ("redis", "redis-server"),
                          ("node", "nodejs")):
        version = say_version("dpkg-query", "-W", "-f=${Version}", package)
        if version and "no packages found" not in version:
            facts[name] = version
    return facts


def busy(seconds):
    """The part of all cores that was at work during so many seconds from now, 0 to 1."""
    def ticks():  # user, nice, system, idle, iowait, …
        found = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(found), found[3] + found[4]
    before = ticks()
    time.sleep(seconds)
    total, idle = (now - then for now, then in zip(ticks(), before))
    return 1 - idle / total if total else 0.0


def load():
    return round(os.getloadavg()[0], 2)
