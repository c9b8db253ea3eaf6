# SPDX-License-Identifier: Apache-2.0
"""Thousands of services that have nothing to do: they may cost memory, and only changes may cost time."""
import time

from support import process
from families.history import ask
from support import stats


def idle_services(context):
    count, sizes = context.sizes.services, context.sizes
    with context.platform() as platform:
        assert platform.package
        platform.quiet()
        found = {"server RSS MiB, without": process.memory(platform.pid)[0]}
        rates, start = [], time.monotonic()
        for number in range(count):
            if number % 1000 == 0:
                context.say(f"made {number:,} of {count:,} services")
            # Half of them are paused, half are active and want no replica.
            platform.create(**({"active": False} if number % 2 else
                               {"runtime": {"concurrency": 10, "numReplicas": 0}}))
            if (number + 1) % max(count // 10, 1) == 0:
                rates.append(max(count // 10, 1) / (time.monotonic() - start))
                start = time.monotonic()
        found.update({"created/s, first tenth": rates[0], "created/s, last tenth": rates[-1]})
        platform.quiet()
        found["server RSS MiB, with all"] = process.memory(platform.pid)[0]
        cpu = process.Cpu([platform.pid], alone=True)
        time.sleep(sizes.seconds)
        found["server CPU % while idle"] = cpu.percent()
        times = ask(platform, "/query/faas", {"resource": "services", "filter": {"projectId": platform.project}, "page": 0,
                                              "pageSize": 100}, sizes.queries)
        found["list p99 ms"] = stats.percentile(times, 0.99) * 1e3
        found["ready after kill -9, s"], found["ready after a stop, s"] = [], []
        for _ in range(sizes.restarts):
            found["ready after kill -9, s"].append(platform.restart(kill=True)[1])
            found["ready after a stop, s"].append(platform.restart(kill=False)[1])
        platform.quiet()
        found["server RSS MiB, after a restart"] = process.memory(platform.pid)[0]
        return found
