# SPDX-License-Identifier: Apache-2.0
"""Servers whose disk, kernel, memory and clock fail on demand, by tests/fault/preload."""
import contextlib
import errno
import fcntl
import functools
import mmap
import os
import signal
import struct
import subprocess

import pytest

import harness

LONG = os.environ.get("DROVER_LONG") == "1"  # `make test-long`: every N, not a sample

CALLS = ("open", "write", "fsync", "truncate", "rename", "unlink", "mkdir", "open_read", "read", "socket", "accept",
         "epoll", "fork", "thread", "pipe", "mmap", "eventfd", "timerfd", "pidfd", "receive", "send", "stat", "memory")
FIELDS = {"armed": ("I", 0), "calls": ("Q", 8), "error": ("q", 16), "short_write": ("q", 24), "from": ("Q", 32),
          "count": ("Q", 40), "seen": ("Q", 48), "failed": ("Q", 56), "sync_us": ("q", 64), "clock_ms": ("q", 72),
          "syncs": ("Q", 80), "recording": ("I", 88), "only_pid": ("I", 92), "match": ("512s", 96),
          "root": ("512s", 608), "last": ("256s", 1120), "min_size": ("Q", 1376)}


def part(cases, count):
    """The first `count` cases; all of them in a long run."""
    return cases if LONG else cases[:count]


@functools.cache
def make(target):
    """Makes what these tests need beside the programs; one process at a time."""
    folder = harness.BUILD / "tests"
    folder.mkdir(exist_ok=True)
    sanitizer = next((f"SAN={kind}" for short, kind in (("asan", "address"), ("tsan", "thread"))
                      if short in harness.BUILD.name), "SAN=")
    # As run_tests.py names it: relative, so that what is there already is taken.
    build = harness.BUILD.relative_to(harness.ROOT) if harness.BUILD.is_relative_to(harness.ROOT) else harness.BUILD
    with (folder / "fault.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(["make", "-s", f"BUILD={build}", sanitizer, target.format(build=build)], cwd=harness.ROOT,
                              capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def libraries():
    make("preload")
    return [str(harness.BUILD / "tests" / name) for name in ("preload.so", "preload_memory.so")]


class Control:
    """The page of memory that steers the library in one process."""

    def __init__(self, path, root=""):
        path.write_bytes(bytes(4096))
        self.path = path
        with path.open("r+b") as file:
            self.page = mmap.mmap(file.fileno(), 4096)
        self.set(root=str(root))

    def set(self, **values):
        for name, value in values.items():
            kind, at = FIELDS[name]
            struct.pack_into(f"={kind}", self.page, at, value.encode() if isinstance(value, str) else value)

    def get(self, name):
        kind, at = FIELDS[name]
        value = struct.unpack_from(f"={kind}", self.page, at)[0]
        return value.rstrip(b"\0").decode(errors="replace") if isinstance(value, bytes) else value

    def arm(self, calls, error=0, match="", first=1, count=0, short=False):
        """From now on the first-th matching call and all after it (or `count` of them) fail."""
        bits = sum(1 << CALLS.index(call) for call in calls.split())
        number = getattr(errno, error) if isinstance(error, str) else error
        self.set(armed=0, calls=bits, error=number, short_write=int(short), count=count, match=match, seen=0, failed=0,
                 last="", **{"from": first})
        self.set(armed=1)

    def disarm(self):
        self.set(armed=0)
        return self.get("seen"), self.get("failed")

    @contextlib.contextmanager
    def failing(self, *args, **more):
        self.arm(*args, **more)
        try:
            yield self
        finally:
            self.disarm()


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Server(harness.Server):
    """One with the library in it. Its agents have none."""

    def __init__(self, folder, memory=False, **options):
        super().__init__(folder, **{"lease": "2s", **options})
        if memory and harness.SANITIZED:
            pytest.skip("a sanitizer brings its own malloc: failing it needs a plain build")
        self.libraries = libraries()[:2 if memory else 1]
        self.control = Control(self.folder / "control", self.data)

    def environment(self):
        found = super().environment()
        found["ASAN_OPTIONS"] = found.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return dict(found, LD_PRELOAD=" ".join(self.libraries), FAULT_CONTROL=str(self.control.path),
                    FAULT_RECORD=str(self.folder / "record"))

    def wait_end(self, seconds=30):
        """Its exit status, once it has ended by itself."""
        return self.process.wait(seconds * harness.SLOW)

    def errors(self, since=0):
        return [line["message"] for line in self.log_lines(since) if line["level"] in ("error", "warn")]
