# SPDX-License-Identifier: Apache-2.0
"""Torture: the Nth allocation and the Nth system call fail, in turn, while a server goes through its
whole road. Whatever happens, the next start finds every execution that was accepted.

A small allocation that fails ends the server (base/mem): a deliberate abort passes, a crash does not.
`make test` takes a sample of the Ns, `make test-long` takes all."""
import random
import signal
import time

import pytest
import requests

import counting
import faults
import harness

# What fails, and with what, in turn.
KINDS = [("memory", "ENOMEM"), ("open open_read", "EMFILE"), ("open open_read", "ENOMEM"), ("write", "EINTR"),
         ("write", "EIO"), ("read", "EINTR"), ("read", "EIO"), ("socket", "EMFILE"), ("accept", "EMFILE"),
         ("accept", "ENOMEM"), ("epoll", "ENOSPC"), ("epoll", "ENOMEM"), ("fork", "EAGAIN"), ("fork", "ENOMEM"),
         ("thread", "EAGAIN"), ("pipe", "EMFILE"), ("mmap", "ENOMEM"), ("eventfd", "EMFILE"), ("timerfd", "EMFILE"),
         ("pidfd", "EMFILE"), ("receive", "EINTR"), ("receive", "EAGAIN"), ("send", "EINTR"), ("send", "EAGAIN"),
         ("stat", "ENOMEM"), ("truncate", "EIO"), ("rename", "ENOSPC"), ("unlink", "EIO"), ("mkdir", "ENOSPC")]

ACCEPTED = {}  # by kind, summed up over its rounds


class Round:
    """One pass: start, make, push, deploy, execute, read, delete, stop; what was accepted is noted."""

    def __init__(self, folder, number):
        self.server = faults.Server(folder / f"{number}", memory=not harness.SANITIZED, **{"log-level": "debug"})
        self.accepted, self.attempted, self.refused = {}, 0, []

    def start(self):
        try:
            self.server.start()
        except (AssertionError, requests.RequestException):
            return False
        return True

    def ask(self, call, *args, **more):
        """An answer with an error must have a form; a connection that is cut has none."""
        try:
            answer = call(*args, timeout=20, **more)
        except requests.RequestException:
            return None
        if answer.ok:
            return answer.json() if answer.content else {}
        assert answer.status_code in (404, 409, 429, 500, 503, 507), answer.text
        self.refused.append(counting.sentence(answer))
        return None

    def work(self):
        key = self.server.data / "admin-key"
        if not key.exists():
            return
        api = harness.Api(self.server, key.read_text().strip())
        project = self.ask(api.call, "POST", "/projects", {"name": "torture"})
        if not project:
            return
        try:
            service = harness.deploy_plain(api, project["id"], "torture", CODE, {"run": {"number": "Integer"}},
                                           onReset="rerun", maxAttempts=100)
        except (AssertionError, requests.RequestException, LookupError):
            return
        for number in range(4):
            self.attempted += 1
            made = self.ask(api.call, "POST", f"/executions/{service['id']}",
                            {"functionName": "run", "input": {"number": number}})
            if made:
                self.accepted[made["id"]] = number
        end = time.monotonic() + 6
        for one in self.accepted:
            while time.monotonic() < end and self.server.process.poll() is None:
                found = self.ask(api.call, "GET", f"/executions/{one}")
                if found and found["latestStatus"]["status"] in harness.FINAL:
                    break
                time.sleep(0.03)
        self.ask(api.call, "GET", "/projects")
        second = self.ask(api.call, "POST", "/projects", {"name": "gone"})
        if second:
            self.ask(api.call, "DELETE", f"/projects/{second['id']}")

    def end(self):
        """Its exit status; it has to end when it is told."""
        try:
            return self.server.stop()
        finally:
            self.server.control.disarm()

    def recovered(self):
        """The next start, with nothing failing: everything accepted is there and ends."""
        self.server.start()
        api = harness.Api(self.server, (self.server.data / "admin-key").read_text().strip())
        ended = [api.finished(one, 60) for one in self.accepted]
        wrong = [one["id"] for one in ended if one["latestStatus"]["status"] != "success" or
                 one["output"]["number"] != self.accepted[one["id"]]]
        assert not wrong, f"accepted and not completed: {wrong}"
        return len(ended)


CODE = """
    class ServiceRunner:
        def run(self, number):
            return {"number": number}
"""


def one_round(folder, number, calls, error, first):
    """Returns (accepted, completed, what failed, how the server ended)."""
    one = Round(folder, number)
    one.server.control.arm(calls, error, first=first, count=1)
    try:
        started = one.start()
        if started:
            one.work()
        status = one.end() if one.server.process else None
        failed = one.server.control.get("failed"), one.server.control.get("last")
        if status == -signal.SIGTERM and "the server ends" in one.server.log.read_text(errors="replace"):
            status = 1  # it was ending by itself when it was told to, and no longer listened
        assert status in (0, 1, -signal.SIGABRT), f"{failed}: ended with {status}\n{one.server.tail()}"
        completed = one.recovered()
    finally:
        one.server.control.disarm()
        problems = one.server.close()
    problems = [line for line in problems if "Sanitizer" in line or "left over" in line]
    assert not problems, problems
    if not failed[0]:
        one.server.remove()
    return one.attempted, len(one.accepted), completed, failed, status


def count_calls(folder, calls):
    """How many there are in one round in which nothing fails."""
    one = Round(folder, "count")
    one.server.control.arm(calls, 0)
    try:
        assert one.start()
        one.work()
        assert one.end() == 0
        return one.server.control.get("seen")
    finally:
        one.server.control.disarm()
        one.server.close()


@pytest.mark.timeout(7200 if faults.LONG else 300)
@pytest.mark.parametrize("calls, error", KINDS)
def test_the_nth_call_fails(tmp_path, calls, error):
    if calls == "memory" and harness.SANITIZED:
        pytest.skip("a sanitizer brings its own malloc: failing it needs a plain build")
    seed = f"{harness.SEED} {calls} {error}"
    total = count_calls(tmp_path, calls)
    if total == 0:
        pytest.skip(f"a server makes no such call: {calls}")
    some = range(1, total + 1)
    if not faults.LONG:
        # Most allocations are the start's: half of the sample is from what comes after it.
        count, draw = min(SAMPLE.get(calls, 1), total), random.Random(seed)
        some = sorted(set(draw.sample(some, (count + 1) // 2) + draw.sample(some[total * 4 // 5:], count // 2)))
    sums, ends, what = [0, 0, 0], {}, []
    for number in some:
        *counts, failed, status = one_round(tmp_path, number, calls, error, number)
        sums = [a + b for a, b in zip(sums, counts)]
        ends[status] = ends.get(status, 0) + 1
        what += [failed[1].split(" ")[0]] if failed[0] else []
        assert counts[2] == counts[1]
        if number % 100 == 0 and faults.LONG:
            print(f"    {calls} {error}: {number} of {total}", flush=True)
    print(f"\n    {calls} {error}: {len(what)} of {total} failed in turn ({', '.join(sorted(set(what)))}), attempted "
          f"{sums[0]}, accepted {sums[1]}, completed {sums[2]}, lost 0, ends {ends}, seed {harness.SEED}")


SAMPLE = {"memory": 4, "read": 2, "write": 2, "open open_read": 2, "epoll": 2}
