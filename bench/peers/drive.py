# SPDX-License-Identifier: Apache-2.0
"""Measures one peer: starts its worker, enqueues from one process as its users do, takes every result, and
prints figures as JSON on the last line. CPU counts the brokers and the worker; the client is apart.

PEER=… AMQP_URL=… REDIS_URL=… drive.py COUNT ROUND-TRIPS BROKER-PID…"""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from support import process  # noqa: E402

VALUE = {"n": 1}


class Celery:
    worker = ["celery", "-A", "celery_app", "worker", "-P", "threads", "-c", "10", "-l", "ERROR", "--without-gossip",
              "--without-mingle", "--without-heartbeat"]
    workers = 1

    def __init__(self):
        import celery_app
        self.task = celery_app.run

    def send(self):
        return self.task.delay(VALUE)

    def wait(self, sent):
        sent.get(timeout=120, interval=0.001)


class Dramatiq:
    worker = ["dramatiq", "dramatiq_app", "-p", "1", "-t", "10"]
    workers = 1

    def __init__(self):
        import dramatiq_app
        self.actor = dramatiq_app.run

    def send(self):
        return self.actor.send(VALUE)

    def wait(self, sent):
        sent.get_result(block=True, timeout=120000)


class Rq:
    worker = ["rq.cli", "worker", "-q", "-u", os.environ.get("REDIS_URL", ""), "-w", "rq.SimpleWorker", "bench"]
    workers = 2

    def __init__(self):
        import redis
        import rq
        import rq_app
        self.function = rq_app.run
        self.queue = rq.Queue("bench", connection=redis.Redis.from_url(os.environ["REDIS_URL"]))

    def send(self):
        return self.queue.enqueue(self.function, VALUE, result_ttl=600)

    def wait(self, sent):
        while sent.get_status() != "finished":
            time.sleep(0.001)


PEERS = {"celery": Celery, "celery-best": Celery, "dramatiq": Dramatiq, "rq": Rq}


def end(workers):
    """Ends workers with all their processes; nothing is lost that matters."""
    members = process.descendants({one.pid for one in workers})
    for one in workers:
        one.terminate()
    for one in workers:
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.wait(3)
    for pid in members & process.descendants(members):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    for one in workers:
        one.wait()


def measure(peer, count, brokers, workers):
    cpu, own, start = process.Cpu({*brokers, *workers}), time.process_time(), time.monotonic()
    sent = [peer.send() for _ in range(count)]
    enqueued = time.monotonic() - start
    for one in sent:
        peer.wait(one)
    took = time.monotonic() - start
    return {"executions/s": count / took, "accepted/s": count / enqueued, "CPU us/execution": cpu.spent() * 1e6 / count,
            "client CPU us/execution": (time.process_time() - own) * 1e6 / count}


def round_trips(peer, count):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        peer.wait(peer.send())
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return {"p50 ms": times[len(times) // 2], "p99 ms": times[len(times) * 99 // 100]}


def main():
    count, trips, brokers = int(sys.argv[1]), int(sys.argv[2]), {int(pid) for pid in sys.argv[3:]}
    peer = PEERS[os.environ["PEER"]]()
    first, start = peer.send(), time.monotonic()
    workers = [subprocess.Popen([sys.executable, "-m", *peer.worker], cwd=HERE, stdout=subprocess.DEVNULL, stderr=sys.stderr)
               for _ in range(peer.workers)]
    try:
        peer.wait(first)
        found = {"first result of a new worker, s": time.monotonic() - start}
        time.sleep(1)
        members = process.descendants({one.pid for one in workers})
        found["worker PSS MiB"] = sum(process.memory(pid)[1] for pid in members)
        found.update(measure(peer, count, brokers, {one.pid for one in workers}))
        time.sleep(0.5)
        found.update(round_trips(peer, trips))
    finally:
        end(workers)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
