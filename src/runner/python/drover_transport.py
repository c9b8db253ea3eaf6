# SPDX-License-Identifier: Apache-2.0
"""The channel to the agent in plain Python: what the extension _drover does in C, for interpreters
that cannot load it. docs/runner-protocol.md describes the frames."""
import _socket  # all that is needed of socket, which costs memory
import json
import os
import sys
import threading
import time
from collections import deque

DONE = "[Done] Executing function."
FRAME_MAX = 64 << 20  # bytes of JSON
ROOM = 8 << 20  # bytes waiting to be written that make writers wait
CREDIT_MAX = 1 << 40  # bytes
TAKE = 64 << 10  # bytes asked of the socket at once
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER

quote = json.JSONEncoder(ensure_ascii=False).encode


def now():
    return time.time_ns() // 1000000


def give_up(why=None):
    """The agent is gone or not to be understood: nobody is left to report to."""
    if why:
        os.write(2, ("drover runner: %s\n" % why).encode())
    os._exit(1)


def members(pairs):
    return json.dumps(pairs, separators=(",", ":"), ensure_ascii=False)


class Invoke:
    """One invoke frame, and what is known of its execution."""

    __slots__ = ("id", "fence", "function", "_frame", "state", "thread", "started", "lines",
                 "dropped", "cancelled", "ended")

    def __init__(self, frame):
        self._frame = frame
        self.id = frame["id"]
        self.fence = str(frame["fence"])
        self.function = frame["function"]
        self.state = None
        self.lines = self.dropped = 0
        self.cancelled = self.ended = False

    def start(self):
        self.thread = threading.get_ident()
        self.started = now()
        return self

    @property
    def input(self):
        return json.dumps(self._frame.get("input", {}))

    @property
    def execution(self):
        return json.dumps(self._frame.get("execution", {}))


class Channel:
    """Frames in and out, the queue of invokes, the credit for log frames."""

    def __init__(self, fd, credit, loads):
        self._loads = loads
        self._lines_max = 0
        self._line_max = 65536
        self.reopen(fd, credit)

    def reopen(self, fd, credit):
        """From the beginning, on another socket; limits stay. For a process after forked()."""
        self._socket = _socket.socket(fileno=fd)
        self._credit = credit
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._writable = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._invokes = deque()
        self._control = deque()
        self._waiting_control = threading.Semaphore(0)
        self._out = []
        self._out_size = 0
        self._sending = self._stopping = self._forked = False

    def limit(self, lines_per_execution, line_bytes):
        """0 lines: no limit."""
        self._lines_max = lines_per_execution
        self._line_max = line_bytes

    # Reading

    def read_loop(self):
        """The reader thread's whole life: when the socket ends, so does the process."""
        try:
            while True:
                size = int.from_bytes(self._receive(4), "big")
                if size > FRAME_MAX:
                    give_up("the agent sent a frame of more than 64 MiB")
                self._accept(self._receive(size))
        except OSError as error:
            give_up(None if isinstance(error, ConnectionError) else "cannot read: %s" % error)
        except Exception as error:
            give_up("the agent sent a frame that is not understood: %r" % error)

    def _receive(self, size):
        parts = []
        while size > 0:
            part = self._socket.recv(min(size, 1 << 20))
            if not part:
                give_up()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _accept(self, payload):
        frame = self._loads(payload.decode())
        kind = frame.get("t")
        if kind == "invoke":
            if not isinstance(frame["id"], str) or not isinstance(frame["function"], str) \
                    or not isinstance(frame["fence"], int):
                raise TypeError("an invoke frame without id, fence or function")
            with self._lock:
                self._invokes.append(Invoke(frame))
                self._work.notify()
        elif kind == "credit":
            if frame["bytes"] < 0:
                raise ValueError("a credit frame without bytes")
            with self._lock:
                self._credit = min(self._credit + frame["bytes"], CREDIT_MAX)
                self._room.notify_all()
        else:
            self._control.append(payload)
            self._waiting_control.release()

    # Taking

    def next(self):
        """The next Invoke; None when stopped and none is left."""
        with self._lock:
            while not self._invokes and not self._stopping:
                self._work.wait()
            if not self._invokes:
                return None
            return self._invokes.popleft().start()

    def withdraw(self, id):
        """Takes back the Invoke with that id (as JSON) if it still waits, else None."""
        id = self._loads(id.decode())
        with self._lock:
            for invoke in self._invokes:
                if invoke.id == id:
                    self._invokes.remove(invoke)
                    return invoke.start()
        return None

    def control(self):
        """The bytes of the next frame that is neither invoke nor credit."""
        # Handlers of user code run in this thread only, and a signal may have met another one.
        while not self._waiting_control.acquire(timeout=0.5):
            pass
        return self._control.popleft()

    def stop(self):
        """No more invokes come; those that wait are still given out."""
        with self._lock:
            self._stopping = True
            self._work.notify_all()

    # Writing

    def write_loop(self):
        """The writer thread's whole life: sends what is ready in one piece."""
        while True:
            with self._lock:
                while not self._out:
                    self._writable.wait()
                ready, self._out, self._out_size = self._out, [], 0
                self._sending = True
            try:
                self._socket.sendall(b"".join(ready))
            except OSError as error:
                give_up(None if isinstance(error, ConnectionError) else "cannot write: %s" % error)
            with self._lock:
                self._sending = False
                self._room.notify_all()

    def _put(self, frames, cost):
        if self._forked:
            raise RuntimeError("the channel to the agent is not open in this process")
        data = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
        with self._lock:
            while (cost > self._credit and cost) or (
                    self._out and self._out_size + len(data) > ROOM):
                self._room.wait()
            self._credit -= cost
            self._out.append(data)
            self._out_size += len(data)
            self._writable.notify()

    def _log_frame(self, invoke, level, message):
        raw = message.encode("utf-8", "replace")
        if len(raw) > self._line_max:
            kept = raw[:self._line_max].decode("utf-8", "ignore")
            message = "%s [cut: %d of %d bytes]" % (kept, len(kept.encode()), len(raw))
        else:
            message = raw.decode()
        message = message.replace("\0", "\ufffd")  # no text of ours holds NUL
        return members({"t": "log", "at": now(), "level": level,
                        "id": invoke.id if invoke else None,
                        "function": invoke.function if invoke else None,
                        "message": message}).encode("utf-8", "replace")

    def log(self, invoke, level, message):
        """One log entry; waits until there is credit for it."""
        if invoke is not None and invoke.ended:
            invoke = None
        if invoke is not None:
            if 0 < self._lines_max <= invoke.lines:
                invoke.dropped += 1
                return
            invoke.lines += 1
        frame = self._log_frame(invoke, level, message)
        self._put([frame], len(frame))

    def result(self, invoke, status, payload, usage=None):
        """The execution's last entry and its result. payload: JSON of the output or the error;
        usage: JSON of what it used, or None."""
        if invoke.ended:
            raise RuntimeError("not an invoke, or it has its result already")
        frames = []
        if invoke.dropped:
            frames.append(self._log_frame(
                invoke, "WARNING", "%d more lines were dropped: the limit is %d lines per execution"
                % (invoke.dropped, self._lines_max)))
        frames.append(self._log_frame(invoke, "INFO", DONE))
        invoke.ended = True
        head = '{"t":"result","id":%s,"fence":%s,"status":"%s","%s":' % (
            quote(invoke.id), invoke.fence, status, "output" if status == "success" else "error")
        tail = ',"startedAt":%d,"endedAt":%d' % (invoke.started, now())
        cost = sum(map(len, frames))
        used = b',"usage":' + usage if usage else b""
        frames.append(head.encode() + payload + tail.encode() + used + b"}")
        self._put(frames, cost)

    def progress(self, invoke, tail):
        """tail: the JSON of a progress frame's members from percent on."""
        if not invoke.ended:
            head = '{"t":"progress","id":%s,"fence":%s,' % (quote(invoke.id), invoke.fence)
            self._put([head.encode() + tail + b"}"], 0)

    def send(self, payload):
        """A frame of these bytes."""
        self._put([payload], 0)

    def flush(self, milliseconds):
        """Waits until everything is written. False: it is not."""
        if self._forked:
            return True
        end = time.monotonic() + milliseconds / 1000
        with self._lock:
            while self._out or self._sending:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._room.wait(left)
        return True

    def forked(self):
        """This process is a fork of the runner: it does not speak, unless the channel is opened
        anew."""
        self._forked = True
        self._socket.detach()
        return None

    def adopt(self):
        """What the descendants of this process leave behind becomes its own, as far as this can be
        had without the extension."""
        try:
            import ctypes
            ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        except (ImportError, OSError, AttributeError):
            pass


if sys.version_info < (3, 8):
    raise ImportError("Python 3.8 or newer is needed")
