# SPDX-License-Identifier: Apache-2.0
"""Many executions that wait: does anything get slower, larger, or longer to start?"""
import statistics
import time

from families import throughput
from support import process
from support.platform import array


def million(context):
    count, sizes = context.sizes.queued, context.sizes
    with context.platform() as platform:
        other = platform.deploy()
        waiting = platform.create(active=False)
        empty = measure(context, platform, other)
        platform.quiet()
        found = fill(context, platform, waiting, count)
        full = measure(context, platform, other)
        found["executions/s, queue empty"] = empty["executions/s"]
        found["executions/s, queue full"] = full["executions/s"]
        found["full / empty, executions/s"] = full["executions/s"] / empty["executions/s"]
        found["full / empty, CPU us/execution"] = full["CPU us/execution"] / empty["CPU us/execution"]
        found["ready after kill -9, s"], found["ready after a stop, s"], found["stop, s"] = [], [], []
        for _ in range(sizes.restarts):
            context.say("restarting it")
            found["ready after kill -9, s"].append(platform.restart(kill=True)[1])
            stop, ready = platform.restart(kill=False)
            found["stop, s"].append(stop)
            found["ready after a stop, s"].append(ready)
        found["server RSS MiB, after a restart"] = process.memory(platform.pid)[0]
        found.update(drain(context, platform, waiting, count))
        return found


def measure(context, platform, service, times=3):
    """Executions of another service, the median of some loads: what is compared is no moment's luck."""
    throughput.warm(platform, service, seconds=min(1, context.sizes.seconds))
    samples = [throughput.measure(platform, service, seconds=context.sizes.seconds / 2) for _ in range(times)]
    return {figure: statistics.median(one[figure] for one in samples) for figure in samples[0]}


def fill(context, platform, service, count):
    """Enqueues in ten parts, and says how the first compares with the last and what a row takes."""
    memory, disk, part = process.memory(platform.pid)[0], process.disk_bytes(platform.server.data), count // 10
    rates, costs = [], []
    for number in range(10):
        context.say(f"enqueued {number * part:,} of {count:,}")
        cpu = process.Cpu([platform.pid], alone=True)
        platform.fill(service, part)
        rates.append(part / (time.monotonic() - cpu.start))
        costs.append(cpu.spent() * 1e6 / part)
    platform.quiet()
    platform.checkpoint()
    after = process.memory(platform.pid)[0]
    return {"enqueue/s, first tenth": rates[0], "enqueue/s, last tenth": rates[-1],
            "last / first tenth, enqueue/s": rates[-1] / rates[0],
            "CPU us/execution, first tenth": costs[0], "CPU us/execution, last tenth": costs[-1],
            "server RSS MiB, before": memory,
            "server RSS MiB, full": after, "server RSS MiB, grown by": after - memory,
            "disk bytes/execution": (process.disk_bytes(platform.server.data) - disk) / count}


def drain(context, platform, service, count):
    context.say("draining it")
    before, start = platform.ended(), time.monotonic()
    cpu = process.Cpu(platform.roots())
    platform.api.post(f"/services/{service}/resume")
    platform.wait_ended(before + count, 1800)
    return {"drained/s": count / (time.monotonic() - start), "CPU us/execution, draining": cpu.spent() * 1e6 / count}


def enqueue(context):
    """Arrays of 1000 into an empty queue: the rate at which work can be handed over at best."""
    with context.platform() as platform:
        service = platform.create(active=False)
        cpu = process.Cpu([platform.pid], alone=True)
        found = platform.load(service, array(1000), connections=4, seconds=context.sizes.seconds)
        return {"accepted/s": found["requests"] * 1000 / found["seconds"],
                "CPU us/execution": cpu.spent() * 1e3 / found["requests"]}
