# SPDX-License-Identifier: Apache-2.0
"""What happens to the rate and to the CPU per execution along one axis at a time: clients, services that
exist, executions that wait, agents of a service. Single requests of no-op executions."""
from families import throughput


def point(context, platform, service, **how):
    throughput.warm(platform, service, seconds=min(1, context.sizes.seconds), **how)
    one = throughput.measure(platform, service, seconds=context.sizes.seconds / 2, **how)
    return {"executions/s": one["executions/s"], "CPU us/execution": one["CPU us/execution"]}


def curve(axis, points, base=None):
    """The curve, and by how much the CPU per execution is more at its end than at its start (base: elsewhere)."""
    xs = sorted(points)
    start = points[base if base is not None else xs[0]]["CPU us/execution"]
    return {f"curve {axis}": points, "CPU us/execution, first": start,
            "CPU us/execution, last": points[xs[-1]]["CPU us/execution"],
            "last / first, CPU us/execution": points[xs[-1]]["CPU us/execution"] / start}


def clients(context):
    points = {}
    with context.platform() as platform:
        service = platform.deploy()
        for count in context.sizes.clients:
            context.say(f"{count} clients")
            points[count] = point(context, platform, service, connections=count)
    return curve("clients", points)


def services(context):
    points, made = {}, 1
    with context.platform() as platform:
        service = platform.deploy()
        for count in context.sizes.service_counts:
            context.say(f"{count:,} services")
            for _ in range(count - made):
                platform.create(active=False)
            made = max(made, count)
            platform.quiet()
            points[count] = point(context, platform, service)
    return curve("services", points)


def depth(context):
    points, waiting = {}, 0
    with context.platform() as platform:
        service, paused = platform.deploy(), platform.create(active=False)
        for count in context.sizes.depths:
            context.say(f"{count:,} executions wait")
            platform.fill(paused, count - waiting)
            waiting = count
            platform.quiet()
            platform.checkpoint()
            points[count] = point(context, platform, service)
    return curve("depth", points)


def agents(context):
    points = {}
    for count in context.sizes.agents:
        context.say(f"{count} agents")
        with context.platform() as platform:
            service = platform.deploy(count)
            platform.quiet(300)
            points[count] = point(context, platform, service)
    return curve("agents", points)
