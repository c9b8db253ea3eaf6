# SPDX-License-Identifier: Apache-2.0
"""What a server and one replica hold while they wait: fresh, and after work."""
import time

from support import process
from support.platform import array


def look(platform, when):
    agent = next(iter(platform.server.supervisors().values()))
    runners = process.descendants({agent["agentPid"]}) - {agent["agentPid"]}
    found = {}
    for name, pids in (("server", [platform.pid]), ("agent", [agent["agentPid"]]), ("runner", runners),
                       ("replica, all its processes,", process.descendants({agent["pid"]}))):
        sizes = [process.memory(pid) for pid in pids]
        for at, kind in enumerate(("RSS", "PSS", "private")):
            found[f"{name} {kind} MiB, {when}"] = sum(one[at] for one in sizes)
    return found


def resident(context):
    with context.platform() as platform:
        service = platform.deploy()
        platform.quiet()
        found = look(platform, "fresh")
        cpu = process.Cpu([platform.pid], alone=True)
        time.sleep(context.sizes.seconds)
        found["server CPU % while idle"] = cpu.percent()
        before, batch = platform.ended(), 100
        platform.load(service, array(batch), connections=16, count=max(context.sizes.warm // batch, 1))
        platform.wait_ended(before + max(context.sizes.warm // batch, 1) * batch)
        platform.quiet()
        found.update(look(platform, "after work"))
        return found
