# SPDX-License-Identifier: Apache-2.0
"""The peers: other systems that run Python functions (BullMQ: JavaScript) from a queue, each with its own client."""
import contextlib
import json
import os
import pathlib

from peers import brokers, environment
from support import process
from support.programs import run

HERE = pathlib.Path(brokers.__file__).resolve().parent


def drive(context, peer, needs_rabbitmq=True):
    python = environment.python()
    with context.scratch() as folder, contextlib.ExitStack() as stack:
        pids = []
        where = {**os.environ, "PEER": peer, "PYTHONDONTWRITEBYTECODE": "1"}
        where["REDIS_URL"], pid = stack.enter_context(brokers.redis(folder))
        pids.append(pid)
        if needs_rabbitmq:
            where["AMQP_URL"], pid = stack.enter_context(brokers.rabbitmq(folder))
            pids.append(pid)
        idle = sum(process.memory(pid)[1] for pid in process.descendants(pids))
        trips = max(context.sizes.idle // 8, 10)
        text = run([python, HERE / "drive.py", context.sizes.peer, trips, *pids], env=where, cwd=HERE)
        return {**json.loads(text.strip().splitlines()[-1]), "brokers PSS MiB": idle}


def celery(context):
    return drive(context, "celery")


def celery_best(context):
    return drive(context, "celery-best")


def dramatiq(context):
    return drive(context, "dramatiq")


def rq(context):
    return drive(context, "rq", needs_rabbitmq=False)


def bullmq(context):
    modules = environment.node()
    with context.scratch() as folder, brokers.redis(folder, "always") as (url, pid):
        cpu, count = process.Cpu([pid]), context.sizes.peer * 2
        port = url.rpartition(":")[2].partition("/")[0]
        where = {**os.environ, "NODE_PATH": str(modules / "node_modules"), "REDIS_PORT": port}
        trips = max(context.sizes.idle // 8, 10)
        text = run(["node", HERE / "bullmq.js", count, trips], env=where)
        found = json.loads(text.strip().splitlines()[-1])
        # The broker's share of singles, arrays and round trips together, over all of them.
        found["CPU us/execution"] += cpu.spent() * 1e6 / (2 * count + trips)
        return found
