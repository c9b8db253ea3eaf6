# SPDX-License-Identifier: Apache-2.0
"""End to end through the public API: from the first request to the last recorded result."""
import http.client
import json
import os
import sys
import time

import harness
from support import process
from support.platform import ONE, array
from support.programs import ROOT, Failed, run


def measure(platform, service, body=ONE, batch=1, **how):
    """Loads a service, waits for the last result, and says what one execution took of everything."""
    before = platform.ended()
    cpu, start = process.Cpu(platform.roots()), time.monotonic()
    found = platform.load(service, body, **how)
    done = found["requests"] * batch
    platform.wait_ended(before + done)
    took = time.monotonic() - start
    return {"executions/s": done / took, "accepted/s": done / found["seconds"], "CPU us/execution": cpu.spent() * 1e6 / done,
            "client CPU us/execution": found["cpuSeconds"] * 1e6 / done}


def warm(platform, service, body=ONE, batch=1, seconds=1.0, **how):
    before = platform.ended()
    found = platform.load(service, body, seconds=seconds, **how)
    platform.wait_ended(before + found["requests"] * batch)


def end_to_end(context, batch=1, **settings):
    body, seconds = ONE if batch == 1 else array(batch), context.sizes.seconds
    with context.platform(**settings) as platform:
        service = platform.deploy()
        warm(platform, service, body, batch, min(1, seconds), connections=context.sizes.connections)
        return measure(platform, service, body, batch, seconds=seconds, connections=context.sizes.connections)


def single(context):
    return end_to_end(context)


def arrays(context):
    return end_to_end(context, 100)


def accept(context):
    """The 201 after the commit alone: the service is paused."""
    with context.platform() as platform:
        service = platform.create(active=False)
        cpu = process.Cpu([platform.pid], alone=True)
        found = platform.load(service, seconds=context.sizes.seconds)
        return {"accepted/s": found["requests"] / found["seconds"],
                "CPU us/execution": cpu.spent() * 1e6 / found["requests"],
                "client CPU us/execution": found["cpuSeconds"] * 1e6 / found["requests"]}


def one_python_client(context):
    """One Python process, one connection, one request after the other: what a peer's producer does."""
    count = context.sizes.peer
    with context.platform() as platform:
        service = platform.deploy()
        warm(platform, service, connections=1, seconds=min(1, context.sizes.seconds))
        connection = http.client.HTTPConnection("127.0.0.1", platform.server.port)
        headers = {"authorization": f"Bearer {platform.token}", "content-type": "application/json"}
        already, cpu, start, own = platform.ended(), process.Cpu(platform.roots()), time.monotonic(), time.process_time()
        for number in range(count):
            connection.request("POST", f"/api/v1/executions/{service}",
                               json.dumps({"functionName": "run", "input": {"n": number}}), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                raise Failed(f"{answer.status}: {text[:300]!r}")
        enqueued, own = time.monotonic() - start, time.process_time() - own
        platform.wait_ended(already + count)
        connection.close()
        return {"executions/s": count / (time.monotonic() - start), "accepted/s": count / enqueued,
                "CPU us/execution": cpu.spent() * 1e6 / count, "client CPU us/execution": own * 1e6 / count}


def dtlpy(context):
    """The unmodified SDK: service.execute in a loop, and execute_batch over items, in a process of its own."""
    with context.platform() as platform, context.scratch() as folder:
        service = platform.deploy()
        see = harness.push_plain(platform.api, platform.project, "see", "class ServiceRunner:\n    def see(self, item):\n"
                                 "        return None\n", {"see": {"item": "Item"}})
        paused = platform.create(active=False, packageId=see["id"])
        environment = {**os.environ, "DATALOOP_PATH": str(folder / "dataloop")}
        text = run([sys.executable, ROOT / "bench" / "peers" / "dtlpy_client.py", platform.server.url, platform.token,
                    platform.project, service, paused, context.sizes.dtlpy], cwd=folder, env=environment)
        return json.loads(text.strip().splitlines()[-1])
