# SPDX-License-Identifier: Apache-2.0
"""`make demo` with its server and agent killed in the middle: it comes to its end all the same, and
everything that was accepted has ended exactly once."""
import collections
import os
import pathlib
import signal
import subprocess
import sys

import pytest

import harness


def server_pid(data):
    """The process that serves this data folder."""
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if command[:1] and command[0].endswith(b"/drover") and str(data).encode() in command:
            return int(entry.name)
    return None


def ended_process(pid):
    """Gone, or a zombie that its parent does not look at: its files are closed by then."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def executions(api):
    query = {"resource": "executions", "filter": {}, "page": 0, "pageSize": 1000}
    return api.post("/query/faas", query)["items"]


def ended(api):
    return [one for one in executions(api) if one["latestStatus"]["status"] in harness.FINAL]


@pytest.mark.timeout(1800)
def test_server_and_agent_are_killed_in_the_demo(tmp_path):
    folder, port, log = tmp_path / "demo", harness.free_port(), tmp_path / "output"
    demo = subprocess.Popen([sys.executable, str(harness.ROOT / "tools" / "demo.py"), "--once", "--keep", str(folder),
                             "--port", str(port), "--build", str(harness.BUILD)],
                            stdin=subprocess.DEVNULL, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    server = harness.Server(folder)
    server.port, server.url = port, f"http://127.0.0.1:{port}"
    try:
        harness.wait_for("the executions begin", lambda: b"running sharpness" in log.read_bytes(), 900, 0.1)
        api = harness.Api(server, (server.data / "admin-key").read_text().strip())
        harness.wait_for("the first one ends", lambda: ended(api), 120, 0.02)
        killed = server_pid(server.data)
        os.kill(killed, signal.SIGKILL)
        for one in server.supervisors().values():
            os.kill(one["agentPid"], signal.SIGKILL)
        harness.wait_for("it is dead and its port is free", lambda: ended_process(killed))
        server.start()
        assert demo.wait(300) == 0, log.read_text(errors="replace")[-4000:]
        found = executions(api)
        states = collections.Counter((one["functionName"], one["latestStatus"]["status"]) for one in found)
        print(f"\n{len(found)} accepted: {dict(states)}")
        assert len(found) == 47 and len(ended(api)) == 47
        for one in found:
            final = [entry for entry in one["statusLog"] if entry["status"] in harness.FINAL]
            assert len(final) == 1, one
        thumbnails = states["thumbnail", "success"] + states["thumbnail", "failed"]
        assert states["sharpness", "success"] + states["sharpness", "failed"] == thumbnails == 23
    finally:
        if demo.poll() is None:
            demo.terminate()
            demo.wait(60)
        if server.process:
            problems = server.close()
            assert not problems, "\n".join(problems)
