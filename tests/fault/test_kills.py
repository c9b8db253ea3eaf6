# SPDX-License-Identifier: Apache-2.0
"""What was accepted with 2xx ends exactly once, whoever is killed meanwhile.

The client notes the id of every execution that it got a 2xx for. A function notes each of its runs
in a file of its execution. Afterwards every accepted execution has to be final with the right
output, its status log has to hold exactly one final entry, and it may have run more than once only
where an agent died."""
import collections
import contextlib
import os
import random
import signal
import threading
import time

import pytest
import requests

import harness

CODE = """
    import os, time
    class ServiceRunner:
        def run(self, folder, number, seconds):
            # One line a run, in one write, so that a run that was cut off counts too.
            file = os.open(f"{folder}/{number}", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            os.write(file, b"run\\n")
            os.close(file)
            if seconds:
                time.sleep(seconds)
            return {"number": number, "folder": folder}
"""
FUNCTIONS = {"run": {"folder": "String", "number": "Integer", "seconds": "Number"}}


class Load:
    """Executes as fast as one connection does, and remembers what was accepted."""

    def __init__(self, api, service, folder, seconds=0.0):
        self.api, self.service, self.folder, self.seconds = api, service, folder, seconds
        self.folder.mkdir()
        self.attempted, self.accepted = 0, {}  # id: number
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        session = requests.Session()
        session.headers.update(self.api.session.headers)
        session.trust_env = False
        url = f"{self.api.server.url}/api/v1/executions/{self.service}"
        while not self.stopping.is_set():
            # Every fourth request is an array: they share a commit.
            many = 20 if self.attempted % 4 == 3 else 1
            bodies = [self.body(self.attempted + at) for at in range(many)]
            self.attempted += many
            try:
                answer = session.post(url, json=bodies if many > 1 else bodies[0], timeout=10)
            except requests.RequestException:
                time.sleep(0.02)
                continue
            if not answer.ok:
                continue
            made = answer.json() if many > 1 else [answer.json()]
            for body, one in zip(bodies, made):
                self.accepted[one["id"]] = body["input"]["number"]

    def body(self, number):
        return {"functionName": "run", "input": {"folder": str(self.folder), "number": number, "seconds": self.seconds}}

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stopping.set()
        self.thread.join()

    def wait_more(self, count, seconds=60):
        wanted = len(self.accepted) + count
        harness.wait_for(f"{count} more are accepted", lambda: len(self.accepted) >= wanted, seconds, 0.005)


def every(api, service):
    """All executions of the service, by id."""
    found, page = {}, 0
    while True:
        answer = api.post("/query/faas", {"filter": {"serviceId": service}, "page": page, "pageSize": 1000,
                                          "resource": "executions", "sort": {"createdAt": "ascending"}})
        found.update({one["id"]: one for one in answer["items"]})
        if not answer["hasNextPage"]:
            return found
        page += 1


def open_ones(api, service):
    query = {"filter": {"$and": [{"serviceId": service}, {"latestStatus.status": {"$nin": sorted(harness.FINAL)}}]},
             "page": 0, "pageSize": 1, "resource": "executions"}
    return api.post("/query/faas", query)["totalItemsCount"]


def verdict(api, load, kills, agents_died):
    """Waits for the end of everything, prints the sums, and checks them."""
    # A list that jumps over rows while they change could hide one: count what is open, then read all.
    harness.wait_for("everything ends", lambda: open_ones(api, load.service) == 0, 180, 0.3)
    found = every(api, load.service)
    lost = [one for one in load.accepted if one not in found]
    states = collections.Counter(found[one]["latestStatus"]["status"] for one in load.accepted if one in found)
    wrong = [one for one, number in load.accepted.items() if one in found and
             (found[one].get("output") or {}).get("number") != number]
    runs = {number: (load.folder / str(number)).read_text().count("run") if (load.folder / str(number)).exists() else 0
            for number in load.accepted.values()}
    again = sum(count > 1 for count in runs.values())
    sample = random.Random(harness.SEED).sample(sorted(load.accepted), min(200, len(load.accepted)))
    ends = {one: sum(entry["status"] in harness.FINAL for entry in api.execution(one)["statusLog"]) for one in sample}
    twice = [one for one, count in ends.items() if count != 1]
    print(f"\n    {kills} kills: attempted {load.attempted}, accepted {len(load.accepted)}, "
          f"completed {states['success']}, lost {len(lost)}, duplicated {len(twice)}, run again {again}")
    assert not lost, f"accepted and gone: {lost[:5]}"
    assert set(states) == {"success"}, states
    assert not wrong, f"wrong outputs: {wrong[:5]}"
    assert not twice, f"ended more than once: {twice[:5]}"
    assert all(count >= 1 for count in runs.values()), "some ended without having run"
    if not agents_died:
        assert again == 0, f"{again} ran more than once although no agent died"


@pytest.fixture
def deployed(server):
    api = harness.Api(server, (server.data / "admin-key").read_text().strip())
    project = api.post("/projects", {"name": "faults"})
    service = harness.deploy_plain(api, project["id"], "faults", CODE, FUNCTIONS, onReset="rerun", maxAttempts=100)
    api.ready(service["id"])
    return api, service["id"]


def pause_between(load, rate, draw):
    load.wait_more(rate)
    time.sleep(draw.random() * 0.2)


@pytest.mark.timeout(600)
def test_server_is_killed(server, deployed, tmp_path, kills, rate):
    api, service = deployed
    draw = random.Random(harness.SEED)
    with Load(api, service, tmp_path / "runs") as load:
        for _ in range(kills):
            pause_between(load, rate, draw)
            server.kill()
            time.sleep(draw.choice((0, 0, 0.5)))
            server.start()
        pause_between(load, rate, draw)
    verdict(api, load, kills, agents_died=False)


@pytest.mark.timeout(600)
def test_server_is_killed_while_it_starts(server, deployed, tmp_path, kills, rate):
    """Recovery that is itself interrupted."""
    api, service = deployed
    draw = random.Random(harness.SEED + 1)
    with Load(api, service, tmp_path / "runs") as load:
        pause_between(load, rate, draw)
        for _ in range(kills):
            server.kill()
            starter = threading.Thread(target=lambda: _start_quietly(server))
            starter.start()
            time.sleep(draw.random() * 0.15)
            server.kill()
            starter.join()
        server.start()
        pause_between(load, rate, draw)
    verdict(api, load, 2 * kills, agents_died=False)


def _start_quietly(server):
    try:
        server.start()
    except (AssertionError, requests.RequestException):
        pass


@pytest.mark.timeout(600)
@pytest.mark.parametrize("whom", ["agent", "supervisor", "runner"])
def test_agent_is_killed(server, deployed, tmp_path, kills, rate, whom):
    api, service = deployed
    draw = random.Random(harness.SEED + 2)
    with Load(api, service, tmp_path / "runs", 0.01) as load:
        for _ in range(kills):
            pause_between(load, rate, draw)
            alive = harness.wait_for("an agent lives", server.supervisors)
            ids = next(iter(alive.values()))
            victim = {"agent": ids["agentPid"], "supervisor": ids["pid"]}.get(whom) or runner_of(ids["agentPid"])
            if victim:
                os.kill(victim, signal.SIGKILL)
            api.ready(service, seconds=60)
    verdict(api, load, kills, agents_died=True)


def runner_of(agent):
    """A process that the agent started; None while it has none."""
    try:
        children = open(f"/proc/{agent}/task/{agent}/children", encoding="ascii").read().split()
    except OSError:
        return None
    return int(children[0]) if children else None


@pytest.mark.timeout(600)
def test_everybody_is_killed(server, deployed, tmp_path, kills, rate):
    api, service = deployed
    draw = random.Random(harness.SEED + 3)
    with Load(api, service, tmp_path / "runs") as load:
        for _ in range(max(kills // 2, 1)):
            pause_between(load, rate, draw)
            for ids in server.supervisors().values():
                os.kill(ids["pid"], signal.SIGKILL)
            server.kill()
            server.start()
        pause_between(load, rate, draw)
    verdict(api, load, kills, agents_died=True)


def wake(pid):
    try:
        os.kill(pid, signal.SIGCONT)
        return True
    except ProcessLookupError:
        return False


def freeze(server, api, service, folder):
    """Freezes one agent past its lease; True when it woke up to work that somebody else had done."""
    folder.mkdir()
    api.patch(f"/services/{service}", {"runtime": {"concurrency": 10, "numReplicas": 1}})
    harness.wait_for("one agent", lambda: len(server.supervisors()) == 1 and api.ready(service))
    made = api.post(f"/executions/{service}", [
        {"functionName": "run", "input": {"folder": str(folder), "number": number, "seconds": 1}} for number in range(8)])
    harness.wait_for("all of them run", lambda: len(list(folder.iterdir())) == 8)
    frozen = next(iter(server.supervisors().values()))
    # The supervisor too, or it would kill the silent agent as the server asks it to.
    os.kill(frozen["pid"], signal.SIGSTOP)
    os.kill(frozen["agentPid"], signal.SIGSTOP)
    try:
        api.patch(f"/services/{service}", {"runtime": {"concurrency": 10, "numReplicas": 2}})
        ended = [api.finished(one["id"], 60) for one in made]
    finally:
        woken = wake(frozen["agentPid"])
        time.sleep(1)
        wake(frozen["pid"])
    assert {one["latestStatus"]["status"] for one in ended} == {"success"}
    assert len({one["replicaId"] for one in ended if "replicaId" in one}) <= 1
    time.sleep(5)  # more than a lease: whatever the woken agent reports has come
    after = [api.execution(one["id"]) for one in made]
    assert [one["statusLog"] for one in after] == [one["statusLog"] for one in ended]
    assert [one["updatedAt"] for one in after] == [one["updatedAt"] for one in ended]
    twice = sum((folder / str(number)).read_text().count("run") > 1 for number in range(8))
    duplicated = sum(sum(entry["status"] in harness.FINAL for entry in one["statusLog"]) != 1 for one in after)
    print(f"\n    1 freeze ({'woken' if woken else 'killed while it slept'}): attempted 8, accepted 8, completed {len(after)}, lost 0, duplicated {duplicated}, run again {twice}")
    assert duplicated == 0 and twice == 8
    return woken


@pytest.mark.timeout(400)
def test_frozen_agent_overwrites_nothing(server, deployed, tmp_path):
    """An agent that sleeps past its lease wakes up with results that somebody else has recorded. A
    server that is quick enough has ended it before it gave its work away: then nobody wakes up, and
    it is tried again. (The simulation in tests/simulation wakes such agents up for certain.)"""
    api, service = deployed
    assert any(freeze(server, api, service, tmp_path / f"runs{number}") for number in range(4)), \
        "every agent was killed in its sleep: nothing was tried"
