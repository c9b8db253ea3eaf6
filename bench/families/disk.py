# SPDX-License-Identifier: Apache-2.0
"""A slow disk: 5 ms more for each fsync (slow_sync.c), 256 requests in flight; beside it the same with 0 ms more."""
from families import throughput
from support.programs import program


def slow(context, micros=5000):
    found, connections = {}, context.sizes.connections * 4
    for name, delay in (("as it is", 0), ("slow", micros)):
        environment = {"LD_PRELOAD": str(program("slow_sync.so")), "SLOW_SYNC_US": str(delay)}
        with context.platform(environment) as platform:
            service = platform.deploy()
            throughput.warm(platform, service, seconds=min(1, context.sizes.seconds), connections=connections)
            one = throughput.measure(platform, service, seconds=context.sizes.seconds, connections=connections)
            found[f"executions/s, {name}"] = one["executions/s"]
            found[f"CPU us/execution, {name}"] = one["CPU us/execution"]
    found["slow / as it is, executions/s"] = found["executions/s, slow"] / found["executions/s, as it is"]
    return found
