# SPDX-License-Identifier: Apache-2.0
"""How long a fault is felt."""
import time

import harness
from support.programs import Failed


def server_killed(context):
    """kill -9 under load: until a request is accepted again, and until an execution is done again."""
    accepted, done = [], []
    with context.platform() as platform:
        service = platform.deploy()
        for _ in range(context.sizes.restarts):
            platform.fill(service, 500)
            start = time.monotonic()
            platform.restart(kill=True)
            first = platform.api.post(f"/executions/{service}", {"functionName": "run", "input": {"n": 1}})
            accepted.append(time.monotonic() - start)
            if platform.api.finished(first["id"], 120)["latestStatus"]["status"] != "success":
                raise Failed("the first execution after the restart did not succeed")
            done.append(time.monotonic() - start)
            harness.wait_for("what was queued ends", lambda: len(set(platform.counts(service))) == 1, 120)
    return {"accepting again, s": accepted, "executing again, s": done}


def agent_killed(context):
    """The agent's supervisor ends all its processes at once: until an execution is done again."""
    done = []
    with context.platform(backoff_first="200ms") as platform:
        service = platform.deploy()
        for _ in range(context.sizes.restarts):
            start = time.monotonic()
            platform.server.stop_agents()
            platform.api.run(service, "run", {"n": 1}, 120)
            done.append(time.monotonic() - start)
    return {"executing again, s": done}
