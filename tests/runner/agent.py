# SPDX-License-Identifier: Apache-2.0
"""The agent's end of a runner's socket, for tests and measurements."""
import array
import json
import os
import socket
import struct
import subprocess
import sys
import time

WAIT = 90.0  # seconds until a test gives up


class Link:
    """The agent's end of the socket of one process, which may be a runner or a fork of one."""

    def __init__(self, ours):
        self.socket = ours
        self.socket.settimeout(WAIT)
        self.buffer = bytearray()
        self.seen = []  # frames that nobody has asked for yet
        self.logs = []
        self.credit_back = True

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


class Agent(Link):
    """A runner process with one package loaded into it: the Python runner, or `command`."""

    def __init__(self, runner, folder, transport="c", python=sys.executable, env=None, nursery=False,
                 command=None):
        ours, theirs = socket.socketpair()
        super().__init__(ours)
        self.nursery, theirs_too = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.nursery.settimeout(WAIT)
        self.forks, self.ends = {}, {}
        self.folder = str(folder)
        full = dict(os.environ, DROVER_RUNNER_TRANSPORT="python" if transport == "python" else "",
                    PYTHONDONTWRITEBYTECODE="1", **(env or {}))
        fds = (theirs.fileno(), theirs_too.fileno())
        redirects = "exec 200<&%d 201<&%d; exec %d<&- %d<&-; " % (fds + fds)
        redirects += 'exec "$@" 3<&200' + (" 4<&201" if nursery else "") + " 200<&- 201<&-"
        self.process = subprocess.Popen(
            ["bash", "-c", redirects, "runner",
             *(command or [python, os.path.join(str(runner), "drover_runner.py")])], pass_fds=fds, env=full,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        theirs.close()
        theirs_too.close()

    def load(self, functions=(), class_name="", concurrency=4, name="module", entry="main.py",
             init_inputs=(), init_params=None, answer="ready", mode="threads", **more):
        module = {"name": name, "entryPoint": entry, "className": class_name,
                  "initInputs": list(init_inputs),
                  "functions": [one if isinstance(one, dict) else {"name": one, "input": []}
                                for one in functions]}
        self.loaded = dict(
            t="load", folder=self.folder, module=module, initParams=init_params or {},
                  concurrency=concurrency, mode=mode, replicaId="replica-1",
                  **{"sdk": {}, "service": None, "package": None, "project": None, "limits": {},
                     **more})
        self.send(**self.loaded)
        return self.until(t=answer) if answer else None

    # Processes of executions

    def fork(self, number=1):
        """Asks for a process; the link to it."""
        ours, theirs = socket.socketpair()
        pipes = [os.pipe(), os.pipe()]
        rights = array.array("i", [theirs.fileno(), pipes[0][1], pipes[1][1]])
        self.nursery.sendmsg([json.dumps({"t": "fork", "number": number}).encode()],
                             [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        theirs.close()
        for pipe in pipes:
            os.close(pipe[1])
        child = self.forks[number] = Child(self, number, ours, [pipe[0] for pipe in pipes])
        return child

    def message(self):
        """The next message of the nursery's, noted."""
        message = json.loads(self.nursery.recv(4096) or b"null")
        if message is None:
            raise EOFError("the warm image has gone")
        if message["t"] == "ended":
            self.ends[message["number"]] = message
        else:
            self.forks[message["number"]].told = message
        return message

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
        self.nursery.close()
        for child in self.forks.values():
            child.close()
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


class Child(Link):
    """The process of one execution, forked (or started) by the warm image."""

    def __init__(self, agent, number, ours, outputs):
        super().__init__(ours)
        self.agent, self.number, self.outputs = agent, number, outputs
        self.told = None

    def begun(self):
        """What the warm image says of its beginning. One that starts anew is loaded first."""
        while self.told is None:
            self.agent.message()
        if self.told.get("threads"):
            self.send(**dict(self.agent.loaded, mode="one"))
            self.until(t="ready")
        return self.told

    def end(self):
        """What the warm image says of its end."""
        while self.number not in self.agent.ends:
            self.agent.message()
        return self.agent.ends[self.number]

    def output_of(self, which):
        """All that it wrote to standard output (0) or error (1), up to the end."""
        with os.fdopen(self.outputs[which], "rb", closefd=False) as file:
            return file.read().decode()

    def close(self):
        self.socket.close()
        for fd in self.outputs:
            os.close(fd)


def elapsed(start):
    return time.monotonic() - start
