# SPDX-License-Identifier: Apache-2.0
"""The agent's end of a runner's socket, for tests and measurements."""
import json
import os
import socket
import struct
import subprocess
import sys
import time

WAIT = 90.0  # seconds until a test gives up


class Agent:
    """A runner process with one package loaded into it: the Python runner, or `command`."""

    def __init__(self, runner, folder, transport="c", python=sys.executable, env=None, command=None):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(WAIT)
        self.buffer = bytearray()
        self.seen = []  # frames that nobody has asked for yet
        self.logs = []
        self.credit_back = True
        self.folder = str(folder)
        full = dict(os.environ, DROVER_RUNNER_TRANSPORT="python" if transport == "python" else "",
                    PYTHONDONTWRITEBYTECODE="1", **(env or {}))
        fd = theirs.fileno()

        self.process = subprocess.Popen(
            ["bash", "-c", 'exec "$@" 3<&%d' % fd + ("" if fd == 3 else " %d<&-" % fd), "runner",
             *(command or [python, os.path.join(str(runner), "drover_runner.py")])], pass_fds=(fd,), env=full,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        theirs.close()

    def send(self, **frame):
        self.send_bytes(json.dumps(frame).encode())

    def send_bytes(self, payload):
        self.socket.sendall(struct.pack(">I", len(payload)) + payload)

    def _receive(self, size):
        while len(self.buffer) < size:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError("the runner has gone")
            self.buffer += data
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def frame(self):
        """The next frame, whatever it is; credit for log frames is given back at once."""
        size = struct.unpack(">I", self._receive(4))[0]
        frame = json.loads(self._receive(size))
        if frame["t"] == "log":
            self.logs.append(frame)
            if self.credit_back:
                self.give(size)
        return frame

    def give(self, size):
        """Gives credit for log frames; a runner that has gone needs none."""
        try:
            self.send(t="credit", bytes=size)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def until(self, **wanted):
        """The next frame with these members; others are kept for later."""
        for index, frame in enumerate(self.seen):
            if all(frame.get(key) == value for key, value in wanted.items()):
                return self.seen.pop(index)
        while True:
            frame = self.frame()
            if all(frame.get(key) == value for key, value in wanted.items()):
                return frame
            self.seen.append(frame)

    def load(self, functions=(), class_name="", concurrency=4, name="module", entry="main.py",
             init_inputs=(), init_params=None, answer="ready", mode="threads", **more):
        module = {"name": name, "entryPoint": entry, "className": class_name,
                  "initInputs": list(init_inputs),
                  "functions": [one if isinstance(one, dict) else {"name": one, "input": []}
                                for one in functions]}
        self.send(t="load", folder=self.folder, module=module, initParams=init_params or {},
                  concurrency=concurrency, mode=mode, replicaId="replica-1",
                  **{"sdk": {}, "service": None, "package": None, "project": None, "limits": {},
                     **more})
        return self.until(t=answer) if answer else None

    def invoke(self, id, function="run", fence=7, execution=None, **inputs):
        self.send(t="invoke", id=id, fence=fence, function=function, input=inputs,
                  execution=execution or {"createdAt": 1, "creator": "a@b.c", "triggerId": None,
                                          "eventContext": None, "attempt": 1})

    def result(self, id):
        return self.until(t="result", id=id)

    def call(self, id, function="run", **inputs):
        self.invoke(id, function, **inputs)
        return self.result(id)

    def output(self, id, function="run", **inputs):
        result = self.call(id, function, **inputs)
        assert result["status"] == "success", result
        return result["output"]

    def lines(self, id=None):
        return [log["message"] for log in self.logs if log["id"] == id]

    def wait_line(self, text, id=None):
        """Waits for a log entry that contains text."""
        while not any(text in line for line in self.lines(id)):
            self.seen.append(self.frame())

    def exit_code(self):
        return self.process.wait(WAIT)

    def stop(self):
        """Tells the runner to stop and reads what it still says; its exit code."""
        self.send(t="stop")
        return self.drain()

    def drain(self):
        try:
            while True:
                self.seen.append(self.frame())
        except (EOFError, ConnectionError):
            return self.exit_code()

    def close(self):
        self.socket.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def usage(self):
        """Seconds of CPU and KiB of memory that the runner has used."""
        with open("/proc/%d/stat" % self.process.pid, encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as file:
            memory = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        return ticks / os.sysconf("SC_CLK_TCK"), memory


def elapsed(start):
    return time.monotonic() - start
