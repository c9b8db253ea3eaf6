# SPDX-License-Identifier: Apache-2.0
"""The table of workloads: what each is, what its figures must reach, and what stands beside it."""
import dataclasses
import typing

from families import disk, faults, growth, history, latency, limits, logs, memory, peers, queue, services, throughput


NOISY = "not comparable (noisy)"


@dataclasses.dataclass
class Target:
    """A figure that must reach `must`, better `goal`; `most`: it is an upper bound. The bounds were set on a
    machine whose own limit (`limit`: workload, figure, what it was there) is known: one that is slower by itself
    is asked for as much less, a faster one for the same. `over`: the workload and figure that this one is a
    ratio to."""
    must: float
    goal: float
    most: bool = False
    limit: tuple = ()
    over: tuple = ()

    def slower(self, limit_here):
        """By which factor this machine's own limit is worse than that of the machine of the bounds; at least 1."""
        if not self.limit or not limit_here:
            return 1.0
        there = self.limit[2]
        return max(1.0, limit_here / there if self.most else there / limit_here)

    def verdict(self, value, slower=1.0, noisy=False):
        """noisy: the limit, or what the value is a ratio to, says nothing."""
        def reached(bound, factor=1.0):
            return value <= bound * factor if self.most else value >= bound / factor
        if noisy and (self.over or not reached(self.must)):
            return NOISY
        if reached(self.goal):
            return "goal"
        if reached(self.must):
            return "met"
        return f"met for its limit ({slower:.2g}× slower)" if reached(self.must, slower) else "NOT MET"


def most(must, goal, limit=(), over=()):
    return Target(must, goal, True, limit, over)


@dataclasses.dataclass
class Workload:
    name: str
    title: str
    measure: typing.Callable
    kind: str = "drover"  # or peer, limit
    apart: bool = False  # a peer that is none for all purposes: never "the best peer"
    once: bool = False  # builds much and takes its samples within one run
    targets: dict = dataclasses.field(default_factory=dict)  # figure: Target
    # (own figure, kind, other workload, its figure): a ratio that is printed
    beside: tuple = ()

    def limits(self):
        """The workloads that give the limits of its targets."""
        return {target.limit[0] for target in self.targets.values() if target.limit} - {self.name}


RATE, CPU = "executions/s", "CPU us/execution"
# SQLite alone: workload, figure, and what it was on the machine for which the bounds were set.
TENS = ("sqlite", "lives/s, groups of 10", 16900)
TENS_CPU = ("sqlite", "CPU us/life, groups of 10", 35)
HUNDREDS = ("sqlite", "lives/s, groups of 100", 61400)
BESIDE = ("idle", "SQLite alone beside it, p50 ms", 0.4)  # in the same seconds: the disk's mood changes
PEERS = ("celery", "celery-best", "dramatiq", "rq", "bullmq")


def against(figure=RATE, other=RATE):
    return tuple((figure, name, other) for name in PEERS)


WORKLOADS = [
    Workload("single", "single POSTs on 64 connections, 10 slots", throughput.single,
             targets={RATE: Target(5000, 10000, limit=TENS), CPU: most(300, 150, TENS_CPU)},
             beside=(*against(), *against(CPU, CPU), (RATE, "store", "executions/s, 64 in flight"), (RATE, *TENS[:2]),
                     (RATE, "http", "POST/s, libmicrohttpd alone"), (RATE, "runner", "calls/s, 10 at a time"))),
    Workload("arrays", "arrays of 100 on 64 connections, 10 slots", throughput.arrays,
             targets={RATE: Target(15000, 25000, limit=HUNDREDS)},
             beside=(*against(), (RATE, "store", "executions/s, 100 in flight"), (RATE, *HUNDREDS[:2]),
                     (RATE, "runner", "calls/s, 10 at a time"))),
    Workload("accept", "durable accept alone, single POSTs on 64 connections", throughput.accept,
             targets={"accepted/s": Target(10000, 30000)}, beside=(("accepted/s", "celery", "accepted/s"),)),
    Workload("enqueue", "durable accept alone, arrays of 1000", queue.enqueue),
    Workload("one-client", "one Python client, one request after the other", throughput.one_python_client,
             beside=(*against(), *against(CPU, CPU))),
    Workload("dtlpy", "dtlpy: service.execute in a loop, execute_batch", throughput.dtlpy),
    Workload("idle", "round trip at idle, sequential", latency.idle,
             targets={"p50 ms": most(1.0, 0.5, BESIDE), "p99 ms": most(3.0, 3.0, BESIDE),
                      "p50 / SQLite alone beside it": most(2.5, 1.25, over=BESIDE[:2])},
             beside=(*against("p50 ms", "p50 ms"), *against("p50 ms, http.client", "p50 ms"),
                     ("p50 ms", "sqlite", "p50 ms, groups of 1"), ("p50 ms", "disk", "p50 ms"))),
    Workload("commits", "fsyncs of one execution alone", latency.commits, targets={"fsyncs/execution": most(3.0, 2.05)}),
    Workload("half-load", "round trip at half the full load, open loop", latency.half_load),
    Workload("resident", "memory and CPU at rest", memory.resident,
             targets={"server RSS MiB, fresh": most(25, 12),
                      "replica, all its processes, PSS MiB, fresh": most(20, 14),
                      "replica, all its processes, PSS MiB, after work": most(20, 14)}),
    Workload("logs", "lines that functions print, and searching them", logs.lines,
             targets={"search of a rare text, p99 ms": most(50, 10)}),
    Workload("slow-disk", "5 ms more for each fsync, 256 in flight", disk.slow,
             targets={"slow / as it is, executions/s": Target(0.3, 0.6)}),
    Workload("server-killed", "kill -9 of the server with 500 executions queued", faults.server_killed),
    Workload("agent-killed", "an agent's processes killed, --backoff-first 200ms", faults.agent_killed),
    Workload("queue", "a long queue, of a paused service", queue.million, once=True,
             targets={"last / first tenth, enqueue/s": Target(0.8, 1.0), "full / empty, executions/s": Target(0.8, 1.0),
                      "server RSS MiB, grown by": most(64, 64), "disk bytes/execution": most(1536, 1536),
                      "ready after kill -9, s": most(2.0, 0.5), "ready after a stop, s": most(2.0, 0.5)}),
    Workload("history", "a long history: lists, counts, filters", history.history, once=True,
             targets={f"{name}, p99 ms": most(50, 10) for name in (
                 "first page", "by status", "by function", "by service", "by service and status", "by day",
                 "page in the middle", "last page", "count of all", "count by status", "count by function",
                 "count of a day", "counters of a service")}),
    Workload("log-history", "many log lines, over ten days: pages and searches", logs.long_history, once=True,
             targets={f"{name}, p99 ms": most(50, 10) for name in (
                 "service", "service, newest first", "service, ten minutes", "execution", "text of one line",
                 "text of a line in 100,000", "text of no line", "text and service")}),
    Workload("services", "many idle services", services.idle_services, once=True,
             targets={"server RSS MiB, with all": most(64, 64), "server CPU % while idle": most(1.0, 1.0)}),
    Workload("clients", "growth: clients", growth.clients,
             targets={"last / first, CPU us/execution": most(1.25, 1.1)}),
    Workload("service-count", "growth: services that exist", growth.services,
             targets={"last / first, CPU us/execution": most(1.25, 1.1)}),
    Workload("depth", "growth: executions that wait", growth.depth, once=True,
             targets={"last / first, CPU us/execution": most(1.25, 1.1)}),
    Workload("agents", "growth: agents of one service", growth.agents,
             targets={"last / first, CPU us/execution": most(1.5, 1.1)}),
    Workload("celery", "Celery: RabbitMQ with confirms, acks late, results in redis", peers.celery, "peer"),
    Workload("celery-best", "Celery without confirms and late acks", peers.celery_best, "peer"),
    Workload("dramatiq", "Dramatiq: RabbitMQ with confirms, results in redis", peers.dramatiq, "peer"),
    Workload("rq", "RQ: redis, SimpleWorker", peers.rq, "peer"),
    Workload("bullmq", "BullMQ: redis with an fsync each, JavaScript in the client", peers.bullmq, "peer",
             apart=True),
    Workload("disk", "the disk: 1 KiB appends", limits.disk, "limit"),
    Workload("sqlite", "SQLite alone, a plain table, three commits a life", limits.sqlite, "limit"),
    Workload("store", "the store alone, whole lives", limits.store, "limit"),
    Workload("http", "HTTP alone, 64 connections", limits.http, "limit"),
    Workload("runner", "the Python runner alone", limits.runner, "limit"),
]
BY_NAME = {one.name: one for one in WORKLOADS}
