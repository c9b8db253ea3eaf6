# SPDX-License-Identifier: Apache-2.0
"""Work that is counted: what was attempted, accepted, completed, lost, duplicated and run again.

The client notes the id of every execution that it got a 2xx for. A function notes each of its runs
in a file of its execution. Afterwards every accepted execution has to be final with the right
output, its status log has to hold exactly one final entry, and it may have run more than once only
where an agent died."""
import collections
import random
import threading
import time

import requests

import harness

CODE = """
    import os, time
    class ServiceRunner:
        def run(self, folder, number, seconds):
            # One line a run, in one write, so that a run that was cut off counts too.
            file = os.open(f"{folder}/{number}", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            os.write(file, b"run %d\\n" % (time.time() * 1000))
            os.close(file)
            if seconds:
                time.sleep(seconds)
            return {"number": number, "folder": folder}
"""
FUNCTIONS = {"run": {"folder": "String", "number": "Integer", "seconds": "Number"}}


class Load:
    """Executes as fast as one connection does, and remembers what was accepted."""

    def __init__(self, api, service, folder, seconds=0.0, limit=20, deadline=10, pace=None):
        """limit: how many come in one array; deadline: seconds for an answer; pace: most in a second."""
        self.pace = pace
        self.limit, self.deadline = limit, deadline
        self.api, self.service, self.folder, self.seconds = api, service, folder, seconds
        self.folder.mkdir()
        self.attempted, self.accepted = 0, {}  # id: number
        self.refusals = collections.Counter()  # by status
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        session = requests.Session()
        session.headers.update(self.api.session.headers)
        session.trust_env = False
        url = f"{self.api.server.url}/api/v1/executions/{self.service}"
        while not self.stopping.is_set():
            # Every fourth request is an array: they share a commit.
            many = self.limit if self.attempted % 4 == 3 else 1
            bodies = [self.body(self.attempted + at) for at in range(many)]
            if self.pace:
                time.sleep(many / self.pace)
            self.attempted += many
            try:
                answer = session.post(url, json=bodies if many > 1 else bodies[0], timeout=self.deadline)
            except requests.RequestException:
                time.sleep(0.02)
                continue
            if not answer.ok:
                self.refusals[answer.status_code] += 1
                time.sleep(0.005)
                continue
            made = answer.json() if many > 1 else [answer.json()]
            for body, one in zip(bodies, made):
                self.accepted[one["id"]] = body["input"]["number"]

    def body(self, number):
        return {"functionName": "run", "input": {"folder": str(self.folder), "number": number, "seconds": self.seconds}}

    def __enter__(self):
        self.began = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stopping.set()
        self.thread.join()
        self.ended = time.monotonic()

    def rate(self):
        """Accepted in a second, servers that were down included."""
        return len(self.accepted) / (self.ended - self.began)

    def wait_more(self, count, seconds=60):
        wanted = len(self.accepted) + count
        harness.wait_for(f"{count} more are accepted", lambda: len(self.accepted) >= wanted, seconds, 0.005)


def deploy(server, **settings):
    """A service of such a function, ready: (api, its id)."""
    api = harness.Api(server, (server.data / "admin-key").read_text().strip())
    project = api.post("/projects", {"name": "faults"})
    settings = {"onReset": "rerun", "maxAttempts": 100, **settings}
    service = harness.deploy_plain(api, project["id"], "faults", CODE, FUNCTIONS, **settings)
    api.ready(service["id"])
    return api, service["id"]


def sentence(answer):
    """What an answer with an error says; it has to be one with a form."""
    error = answer.json()
    assert error["statusCode"] == answer.status_code and len(error["message"]) > 20, error
    return error["message"]


def upload_until(api, dataset, stop):
    """Uploads, so that blobs are written, until told to stop."""
    number = 0
    while not stop.is_set():
        number += 1
        try:
            answer = harness.upload(api, dataset, f"/noise/{number}", b"%d" % number * 5000)
            assert answer.ok or answer.status_code == 503 and sentence(answer), answer.text
        except requests.RequestException:
            pass
        time.sleep(0.01)


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


def kept(api, service):
    """How many executions of a service there are, in whatever state."""
    return api.post("/query/faas", {"filter": {"serviceId": service}, "page": 0, "pageSize": 1,
                                    "resource": "executions"})["totalItemsCount"]


def runs_of(load, number):
    """When the function began to run with that number, in ms."""
    file = load.folder / str(number)
    return sorted(int(line.split()[1]) for line in file.read_text().splitlines()) if file.exists() else []


def timed_verdict(api, load, kills, agents_died, what="killed"):
    """verdict() of kills by kind; besides, nothing may start to run after its end was recorded. Returns
    the longest time, in seconds, that an execution waited to be run, for the first time or again."""
    verdict(api, load, " and ".join(f"{count} {kind}" for kind, count in kills.items()), agents_died, what)
    found, late, waits = every(api, load.service), 0, [0]
    for one, number in load.accepted.items():
        starts = runs_of(load, number)
        ended, created = (harness.milliseconds(found[one][field]) for field in ("updatedAt", "createdAt"))
        late += sum(start > ended for start in starts)
        waits += [after - before for before, after in zip([created] + starts, starts)]
    print(f"      run after their end was recorded {late}; {load.rate():.0f} executions/s were accepted")
    assert late == 0, f"{late} were run again after their end was recorded"
    return max(waits) / 1000


def verdict(api, load, kills, agents_died, what="kills", seconds=180):
    """Waits for the end of everything, prints the sums, and checks them."""
    # A list that jumps over rows while they change could hide one: count what is open, then read all.
    harness.wait_for("everything ends", lambda: open_ones(api, load.service) == 0, seconds, 0.3)
    found = every(api, load.service)
    lost = [one for one in load.accepted if one not in found]
    states = collections.Counter(found[one]["latestStatus"]["status"] for one in load.accepted if one in found)
    wrong = [one for one, number in load.accepted.items() if one in found and
             (found[one].get("output") or {}).get("number") != number]
    runs = {number: (load.folder / str(number)).read_text().count("run") if (load.folder / str(number)).exists() else 0
            for number in load.accepted.values()}
    again = sum(count > 1 for count in runs.values())
    # Those that ran more than once, and a sample of the others.
    looked = [one for one, number in load.accepted.items() if runs[number] > 1]
    looked += random.Random(harness.SEED).sample(sorted(load.accepted), min(200, len(load.accepted)))
    ends = {one: sum(entry["status"] in harness.FINAL for entry in api.execution(one)["statusLog"]) for one in looked}
    twice = [one for one, count in ends.items() if count != 1]
    print(f"\n    {kills} {what}: attempted {load.attempted}, accepted {len(load.accepted)}, "
          f"completed {states['success']}, lost {len(lost)}, duplicated {len(twice)}, run again {again}")
    assert not lost, f"accepted and gone: {lost[:5]}"
    assert set(states) == {"success"}, states
    assert not wrong, f"wrong outputs: {wrong[:5]}"
    assert not twice, f"ended more than once: {twice[:5]}"
    assert all(count >= 1 for count in runs.values()), "some ended without having run"
    if not agents_died:
        assert again == 0, f"{again} ran more than once although no agent died"
