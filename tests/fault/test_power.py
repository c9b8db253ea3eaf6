# SPDX-License-Identifier: Apache-2.0
"""The power fails: whatever a disk may then hold, the real code opens it and keeps its promises.

A server under load is recorded: every write, fsync, name and answer in order. power.c makes images of
what may have survived at each point, opens them, and checks that every execution that was answered
with 201 is there, that every result that an agent was told is recorded is final, and only once, that
blobs that rows name are whole, that the queue can be rebuilt and fences go on growing."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading

import pytest

import counting
import faults
import harness


@pytest.fixture
def memory_folder(tmp_path):
    """In memory, where there is such a place: thousands of images are made."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path
    folder = pathlib.Path(tempfile.mkdtemp(prefix="drover-power-", dir=base))
    yield folder
    shutil.rmtree(folder)


def program():
    faults.make("{build}/tests/power")
    return harness.BUILD / "tests" / "power"


def record(tmp_path):
    """A server's whole first life, under load."""
    server = faults.Server(tmp_path / "server")
    server.control.set(recording=1)
    server.start()
    try:
        api, service = counting.deploy(server)
        project = api.get(f"/services/{service}")["projectId"]
        dataset = api.post("/datasets", {"name": "data", "projects": [project]})["id"]
        stop = threading.Event()
        uploads = threading.Thread(target=counting.upload_until, args=(api, dataset, stop))
        with counting.Load(api, service, tmp_path / "runs") as load:
            uploads.start()
            load.wait_more(5000 if faults.LONG else 800)
            stop.set()
            uploads.join()
        counting.verdict(api, load, 0, False)
        server.control.set(recording=0)
    finally:
        problems = server.close()
    assert not problems, problems
    return server, load


@pytest.mark.timeout(7200 if faults.LONG else 400)
def test_power_fails(tmp_path, memory_folder):
    server, load = record(tmp_path)
    count = 0 if faults.LONG else int(os.environ.get("DROVER_POWER_IMAGES", "150"))
    command = [program(), server.folder / "record", server.data, memory_folder, str(harness.SEED), str(count)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    print("    " + ran.stdout.strip())
    assert ran.returncode == 0, ran.stdout + ran.stderr
    accepted = int(ran.stdout.split("accepted ")[1].split(",")[0])
    recorded = int(ran.stdout.split("recorded ")[1].split(",")[0])
    assert accepted >= len(load.accepted) and recorded >= len(load.accepted) * 9 // 10, ran.stdout
