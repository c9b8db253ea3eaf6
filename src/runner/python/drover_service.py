# SPDX-License-Identifier: Apache-2.0
"""A service at work: from the load frame to the last result."""
import atexit
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import types

import drover_logs
import drover_warm
from drover_logs import describe, tag
from drover_module import LoadError, Module, finish
from drover_output import DEPTH, encode
from drover_sdk import Sdk, version

try:
    from fcntl import F_DUPFD_CLOEXEC, fcntl
except ImportError as error:
    raise SystemExit("drover runner: a Unix is needed: %s" % error)

FD, NURSERY = 3, 4
WINDOW = 1 << 20  # bytes of log frames before the agent gives credit
LOG_LINE_BYTES = 16384
FLUSH_MS = 5000
IGNORED = (signal.SIGINT, signal.SIGTERM)
LATER = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)


def channel_class():
    """The extension's channel, or the one in Python where it cannot be loaded."""
    if os.environ.get("DROVER_RUNNER_TRANSPORT") != "python":
        try:
            from _drover import Channel
            return Channel
        except ImportError:
            pass
    from drover_transport import Channel
    return Channel


def take_socket(number):
    """Moves a socket of the agent's to a high number that programs started by user code do not
    inherit."""
    for least in (700, 200, 10):
        try:
            fd = fcntl(number, F_DUPFD_CLOEXEC, least)
            break
        except OSError as error:
            failure = error
    else:
        raise SystemExit("drover runner: file descriptor %d is not the agent's socket: %s"
                         % (number, failure))
    os.close(number)
    return fd


class Runner:
    """The threads of this process and what they share."""

    def __init__(self, channel):
        self.fd = take_socket(FD)
        self.channel = channel(self.fd, WINDOW, json.loads)
        self.pid = os.getpid()
        self.mode = "threads"
        self.giving_birth = False  # the fork under way is drover_warm's
        self.threads = []  # our own
        self.scan = json.JSONDecoder().scan_once
        self.running = {}  # id → invoke
        self.lock = threading.Lock()
        self.reset_sent = False
        self.workers = []
        self.output_max, self.depth_max = 0, DEPTH
        self.module = self.sdk = self.logs = None

    # Starting and ending

    def start_thread(self, target, name):
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def start_channel(self):
        """The threads that read and write, without which nothing is said."""
        self.start_thread(self.channel.read_loop, "agent-reader")
        self.start_thread(self.channel.write_loop, "agent-writer")

    def say(self, members):
        self.channel.send(json.dumps(members).encode())

    def leave(self, code):
        self.channel.flush(FLUSH_MS)
        exit_now(code)

    def load(self, load):
        """Loads the module and says ready, or says failed and ends the process."""
        limits = load.get("limits") or {}
        self.output_max = limits.get("outputBytes") or 0
        self.depth_max = limits.get("jsonDepth") or DEPTH
        line_bytes = min(limits.get("logLineBytes") or LOG_LINE_BYTES, 65536)
        self.channel.limit(limits.get("logLinesPerExecution") or 0, line_bytes)
        self.logs = drover_logs.Logs(self.channel, line_bytes)
        self.logs.install()
        os.register_at_fork(before=self.before_fork, after_in_parent=self.after_fork,
                            after_in_child=self.forked)
        os._exit = self.flush_and_exit
        try:
            self.mode = load.get("mode", "threads")
            if self.mode not in ("threads", "processes", "one"):
                raise LoadError("internal", ValueError("this runner has no mode %r" % self.mode))
            if self.mode == "processes":
                self.nursery = drover_warm.Nursery(self, take_socket(NURSERY))
            self.sdk = Sdk(self.channel, load)
            self.module = Module(load, self.sdk)
            self.module.load()
        except LoadError as error:
            self.fail(error.kind, error.error)
        except BaseException as error:
            self.fail("internal", error)
        self.logs.finish()
        self.set_concurrency(load.get("concurrency") or 1)
        self.say({"t": "ready", "python": sys.version.split()[0], "dtlpy": version(),
                  "pid": self.pid})

    def set_concurrency(self, concurrency):
        """As many threads as may be needed at once; what are too many wait for work in vain."""
        if self.mode == "threads" and isinstance(concurrency, int):
            for number in range(len(self.workers), max(1, concurrency)):
                self.workers.append(self.start_thread(self.work, "execution-%d" % number))

    def fail(self, kind, error):
        self.logs.finish()
        self.logs.error(error)
        self.say({"t": "failed", "type": kind, "error": describe(error)})
        self.leave(1)

    def flush_and_exit(self, code):
        """os._exit for user code: what it has said still goes out."""
        if os.getpid() == self.pid:
            self.channel.flush(1000)
        exit_now(code)

    def before_fork(self):
        """A signal must not find a child that still ignores it."""
        tag.signals = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)

    def after_fork(self):
        signal.pthread_sigmask(signal.SIG_SETMASK, tag.signals)

    def forked(self):
        """In a child process that user code forked: it does not speak to the agent."""
        if self.giving_birth:
            self.after_fork()
            return
        self.leave_channel()
        if self.mode == "processes":
            self.nursery.leave()
        self.logs.forked()
        for number in IGNORED:
            if signal.getsignal(number) is ignore:
                signal.signal(number, signal.SIG_DFL)
        self.after_fork()

    def leave_channel(self):
        """In a child process: the descriptors are its parent's."""
        wake = self.channel.forked()
        for fd in (self.fd, wake):
            if fd is not None:
                try:
                    os.close(fd)
                except OSError:
                    pass

    # Executions

    def born(self, fd):
        """In a fork of the warm image: from now on a runner of one execution, on its own socket."""
        self.leave_channel()
        self.pid = os.getpid()
        self.mode = "one"
        self.fd = take_socket(fd)
        self.lock = threading.Lock()
        self.threads = []
        self.channel.reopen(self.fd, WINDOW)
        self.sdk.born()
        self.start_channel()

    def serve_one(self):
        """The main thread's life in a process that is there for one execution."""
        self.channel.adopt()
        invoke = self.channel.next()
        if invoke is not None:
            self.run(invoke)
        self.leave(0)

    def work(self):
        """A worker thread's whole life."""
        take, run = self.channel.next, self.run
        while True:
            invoke = take()
            if invoke is None:
                return
            run(invoke)

    def run(self, invoke):
        """One execution, from its invoke frame to its result."""
        id = invoke.id
        self.running[id] = invoke
        tag.execution = invoke
        payload = None
        try:
            if invoke.cancelled:
                raise InterruptedError("Execution received termination signal")
            function = self.module.functions.get(invoke.function)
            if function is None:
                function = self.module.function(invoke.function)
            inputs = self.scan(invoke.input, 0)[0]
            if function.plain:
                output = function.call(**inputs)
            else:
                output = function.call(**function.arguments(inputs, invoke))
            if isinstance(output, LATER):
                output = self.finish(output, invoke)
            payload = encode(output, self.output_max, self.depth_max)
            status = "success"
        except BaseException as error:
            status, payload = self.failure(invoke, error)
        if os.getpid() != self.pid:
            exit_now(0)  # the function came back in a child that it forked
        self.end(invoke, id, status, payload)

    def finish(self, output, invoke):
        if type(output) is not types.CoroutineType:
            return finish(output, invoke.function)
        return self.finish_coroutine(output, invoke)

    def finish_coroutine(self, output, invoke):
        """Runs a coroutine to its end in a loop of its own; a cancel cancels its task."""
        import asyncio

        async def task():
            invoke.state = (asyncio.get_running_loop(), asyncio.current_task())
            if invoke.cancelled:
                raise asyncio.CancelledError
            return await output

        try:
            return asyncio.run(task())
        except asyncio.CancelledError:
            if not invoke.cancelled:
                raise
            raise InterruptedError("Execution received termination signal") from None
        finally:
            invoke.state = None

    def failure(self, invoke, error):
        """Status and error JSON of an execution that raised; its traceback is logged."""
        status = "failed"
        if isinstance(error, InterruptedError) and invoke.cancelled:
            status = "terminated"
        described = describe(error)
        if os.getpid() == self.pid:
            self.logs.finish()
            level = "ERROR" if status == "failed" else "WARNING"
            self.channel.log(invoke, level, described["stack"])
        return status, json.dumps(described).encode()

    def end(self, invoke, id, status, payload):
        with self.lock:
            if self.running.get(id) is invoke:
                del self.running[id]
            if invoke.cancelled:
                self.module.forget(invoke.thread)
        self.logs.finish()
        tag.execution = None
        usage = drover_warm.usage() if self.mode == "one" else None
        self.channel.result(invoke, status, payload, usage)
        if not self.reset_sent and self.module.wants_reset():
            self.reset_sent = True
            self.say({"t": "reset"})

    def cancel(self, id):
        """Sets the execution's kill event; one that still waits ends at once."""
        waiting = self.channel.withdraw(json.dumps(id, ensure_ascii=False).encode())
        if waiting is not None:
            waiting.cancelled = True
            self.run(waiting)
            if self.mode == "one":
                self.channel.stop()  # there will not be another one
            return
        for _ in range(10):
            if id in self.running:
                break
            time.sleep(0.002)  # a worker may have taken it just now
        with self.lock:
            invoke = self.running.get(id)
            if invoke is None or invoke.cancelled:
                return
            invoke.cancelled = True
            self.module.terminate(invoke.thread)
            if invoke.state is not None:
                loop, task = invoke.state
                try:
                    loop.call_soon_threadsafe(task.cancel)
                except RuntimeError:
                    pass  # its loop has just ended

    # Frames

    def control(self):
        """Frames other than invoke and credit, until there is something else to do for the main
        thread."""
        while True:
            frame = json.loads(self.channel.control())
            kind = frame.get("t")
            if kind == "load" and self.module is None:
                self.load(frame)
                if self.mode != "threads":
                    return
            elif kind == "cancel" and self.module is not None:
                self.cancel(frame.get("id"))
            elif kind == "token" and self.sdk is not None:
                self.sdk.renew(frame.get("token"))
            elif kind == "settings" and self.module is not None:
                self.set_concurrency(frame.get("concurrency"))
            elif kind == "stop":
                self.stop()

    def control_aside(self):
        """The life of a thread that takes those frames while the main thread does other work."""
        try:
            self.control()
        except BaseException as error:
            self.logs.error(error)
            self.leave(1)

    def stop(self):
        """Lets the running executions report, then ends the process."""
        self.channel.stop()
        if self.mode == "one":
            return  # the main thread leaves when it is done
        for worker in self.workers:
            worker.join()
        atexit._run_exitfuncs()
        if self.logs is not None:
            self.logs.finish()
        self.leave(0)


def ignore(number, frame):
    """A signal to the process group is the agent's business. A handler rather than SIG_IGN, which
    programs started by user code would inherit."""


exit_now = os._exit


def run(channel):
    """Serves the agent until it says stop or goes away."""
    faulthandler.enable(file=2)
    for number in IGNORED:
        signal.signal(number, ignore)
    runner = Runner(channel)
    runner.start_channel()
    try:
        runner.control()  # returns when all is loaded, and executions have processes of their own
        if runner.mode == "processes":
            runner.nursery.serve()
        runner.start_thread(runner.control_aside, "agent-control")
        runner.serve_one()
    except BaseException as error:
        runner.say({"t": "failed", "type": "internal", "error": describe(error)})
        runner.leave(1)
