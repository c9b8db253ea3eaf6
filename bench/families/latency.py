# SPDX-License-Identifier: Apache-2.0
"""From the request to the result in the client's hands: POST …?waitUntilExecutionIsFinished=true."""
import http.client
import json
import struct
import time

from families import limits, throughput
from support import stats
from support.programs import Failed, program

WAIT = "?waitUntilExecutionIsFinished=true"
SUCCESS = '"status":"success"'


def idle(context):
    """One after the other on one connection, on a server that has nothing else to do."""
    with context.platform() as platform:
        service = platform.deploy()
        platform.load(service, path=WAIT, connections=1, count=50, expect=SUCCESS)
        platform.quiet()
        alone = [limits.sqlite_alone(context, min(1, context.sizes.seconds))]
        found = platform.load(service, path=WAIT, connections=1, count=context.sizes.idle, expect=SUCCESS)
        alone.append(limits.sqlite_alone(context, min(1, context.sizes.seconds)))
        times = from_python(platform, service, max(context.sizes.idle // 4, 10))
        return {"p50 ms": found["p50"], "p99 ms": found["p99"], "SQLite alone beside it, p50 ms": alone,
                "p50 / SQLite alone beside it": found["p50"] / (sum(alone) / 2),
                "p50 ms, http.client": stats.percentile(times, 0.5) * 1e3,
                "p99 ms, http.client": stats.percentile(times, 0.99) * 1e3}


def from_python(platform, service, count):
    connection = http.client.HTTPConnection("127.0.0.1", platform.server.port)
    headers = {"authorization": f"Bearer {platform.token}", "content-type": "application/json"}
    times = []
    for number in range(count):
        body = json.dumps({"functionName": "run", "input": {"n": number}})
        start = time.perf_counter()
        connection.request("POST", f"/api/v1/executions/{service}{WAIT}", body, headers)
        text = connection.getresponse().read()
        times.append(time.perf_counter() - start)
        if SUCCESS.encode() not in text:
            raise Failed(f"an execution did not succeed: {text[:300]!r}")
    connection.close()
    return times


def commits(context):
    """How many fsyncs one execution alone costs, and the disk's share of its time."""
    with context.scratch() as folder:
        counter = folder / "count"
        counter.write_bytes(bytes(8))
        environment = {"LD_PRELOAD": str(program("slow_sync.so")), "SLOW_SYNC_COUNT": str(counter)}
        with context.platform(environment) as platform:
            service = platform.deploy()
            platform.load(service, path=WAIT, connections=1, count=20, expect=SUCCESS)
            platform.quiet()
            count = max(context.sizes.idle // 4, 10)
            before = struct.unpack("q", counter.read_bytes())[0]
            platform.load(service, path=WAIT, connections=1, count=count, expect=SUCCESS)
            time.sleep(0.3)  # what is lazy is written too
            return {"fsyncs/execution": (struct.unpack("q", counter.read_bytes())[0] - before) / count}


def half_load(context):
    """At half the rate that the platform just did at full load, in an open loop."""
    with context.platform() as platform:
        service = platform.deploy()
        throughput.warm(platform, service, seconds=min(1, context.sizes.seconds))
        full = throughput.measure(platform, service, seconds=context.sizes.seconds / 2)["executions/s"]
        platform.quiet()
        found = platform.load(service, path=WAIT, connections=256, seconds=context.sizes.seconds, rate=full / 2,
                              expect=SUCCESS)
        return {"rate/s": found["requests"] / found["seconds"], "p50 ms": found["p50"], "p99 ms": found["p99"],
                "p99.9 ms": found["p999"]}
