# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ and redis of a workload's own: private ports of the loopback, private data, ended by pid. The
system's services are never touched."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import harness
from support import process
from support.programs import Failed


def wait_for_port(what, port, child, log, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if child.poll() is not None:
            break
        time.sleep(0.05)
    raise Failed(f"{what} did not start: {pathlib.Path(log).read_text(errors='replace')[-500:]}")


@contextlib.contextmanager
def child(command, folder, name, environment=None):
    """A process that is ended with all that descends from it."""
    if not shutil.which(str(command[0])):
        raise Failed(f"{command[0]} is not installed: tools/setup bench")
    with (folder / f"{name}.log").open("ab") as log:
        one = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               env={**os.environ, **(environment or {})}, cwd=folder)
    try:
        yield one
    finally:
        members = process.descendants({one.pid})
        for pid in members:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.wait(20)
        for pid in members & process.descendants(members):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        one.wait(20)


@contextlib.contextmanager
def redis(folder, fsync="everysec"):
    """Gives (url, pid). Its append-only file is synced each second, or (always) before each answer."""
    folder, port = pathlib.Path(folder) / "redis", harness.free_port()
    folder.mkdir()
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes",
               "--appendfsync", fsync, "--daemonize", "no"]
    with child(command, folder, "redis") as one:
        wait_for_port("redis", port, one, folder / "redis.log")
        yield f"redis://127.0.0.1:{port}/0", one.pid


@contextlib.contextmanager
def rabbitmq(folder):
    """Gives (url, pid)."""
    programs = sorted(pathlib.Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not programs:
        raise Failed("rabbitmq-server is not installed: tools/setup bench")
    folder, port, names = pathlib.Path(folder) / "rabbitmq", harness.free_port(), harness.free_port()
    folder.mkdir()
    (folder / "plugins").write_text("[].\n")
    (folder / "empty").touch()
    (folder / "rabbitmq.conf").write_text("loopback_users = none\nlog.console = false\n")
    environment = {
        "HOME": folder, "ERL_EPMD_PORT": names, "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": port, "RABBITMQ_DIST_PORT": harness.free_port(),
        "RABBITMQ_MNESIA_BASE": folder / "db", "RABBITMQ_LOG_BASE": folder / "log", "RABBITMQ_PID_FILE": folder / "pid",
        "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins", "RABBITMQ_CONFIG_FILE": folder / "rabbitmq",
        "RABBITMQ_CONF_ENV_FILE": folder / "empty", "RABBITMQ_GENERATED_CONFIG_DIR": folder / "generated"}
    environment = {name: str(value) for name, value in environment.items()}
    with child(["epmd", "-port", names, "-address", "127.0.0.1"], folder, "epmd", environment), \
            child([programs[-1]], folder, "rabbitmq", environment) as one:
        wait_for_port("RabbitMQ", port, one, folder / "rabbitmq.log")
        time.sleep(1)
        yield f"amqp://guest:guest@127.0.0.1:{port}/%2F", one.pid
