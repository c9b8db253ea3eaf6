# SPDX-License-Identifier: Apache-2.0
"""What user code prints and logs, as log entries tagged with the execution of their thread."""
import _thread
import codecs
import io
import logging
import os
import sys
import threading
import traceback

HOME = os.path.dirname(os.path.abspath(__file__))
STACK_MAX = 64 << 10  # characters of a traceback that are kept


class Tag(threading.local):
    """What belongs to the current thread: its execution, and the lines that are not whole yet."""

    execution = None

    def __init__(self):
        self.partial = {}
        self.decoders = {}


tag = Tag()


def cut_own_frames(tb):
    """A traceback without the runner's frames (or a thread's), from the first one of user code on."""
    while tb is not None:
        name = tb.tb_frame.f_code.co_filename
        if os.path.dirname(name) != HOME and name != threading.__file__:
            break
        tb = tb.tb_next
    return tb


def clean(text):
    """The text as every frame can hold it: half a surrogate pair (as os.fsdecode makes of a name that
    is no UTF-8) becomes "?", NUL U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def describe(error):
    """{message, type, stack} of an exception, whatever its own methods do."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception as second:
        text = "<its str() raised %s>" % type(second).__name__
    try:
        lines = traceback.format_exception(type(error), error, cut_own_frames(error.__traceback__))
        stack = "".join(lines).rstrip("\n")
    except Exception as second:
        stack = "%s: %s\n<its traceback cannot be formatted: %s>" % (name, text, second)
    if len(stack) > STACK_MAX:
        half = STACK_MAX // 2
        stack = "%s\n  [... %d characters cut ...]\n%s" % (
            stack[:half], len(stack) - 2 * half, stack[-half:])
    message = "%s: %s" % (name, text) if text else name
    return {"message": clean(message[:STACK_MAX]), "type": clean(name), "stack": clean(stack)}


class Bytes(io.RawIOBase):
    """The buffer of a Stream: bytes, decoded as UTF-8; what is none is replaced."""

    def __init__(self, stream):
        self._stream = stream

    def writable(self):
        return True

    def fileno(self):
        return self._stream.fileno()

    def write(self, data):
        data = bytes(data)
        decoder = tag.decoders.get(self._stream)
        if decoder is None:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            tag.decoders[self._stream] = decoder
        self._stream.write(decoder.decode(data))
        return len(data)


class Stream(io.TextIOBase):
    """Stands in for sys.stdout or sys.stderr: every line becomes a log entry."""

    def __init__(self, channel, fd, level, most):
        self._channel = channel
        self._fd = fd
        self._level = level
        self._most = max(most, 4)  # bytes of an entry
        self.buffer = Bytes(self)

    encoding = "utf-8"
    errors = "replace"
    line_buffering = True

    def fileno(self):
        return self._fd

    def isatty(self):
        return False

    def writable(self):
        return True

    def reconfigure(self, **options):
        """Accepted, as of a text file; lines and UTF-8 it stays."""

    def close(self):
        """Stays open: other executions write here too."""

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        pending = tag.partial.get(self)
        whole = pending + text if pending else text
        if "\n" not in text:
            whole = self._bounded(whole)
        else:
            lines = whole.split("\n")
            whole = lines.pop()
            execution = tag.execution
            for line in lines:
                self._entry(execution, line)
        if whole or pending:
            tag.partial[self] = whole
        return len(text)

    def _bounded(self, text):
        """Of an endless line: what a progress bar has overwritten goes, pieces go out."""
        if "\r" in text:
            text = text[text.rindex("\r", 0, -1) + 1:] if "\r" in text[:-1] else text
        if len(text) <= self._most:
            return text
        parts = self._split(text)
        for part in parts[:-1]:
            self._channel.log(tag.execution, self._level, part)
        return parts[-1]

    def _split(self, text):
        """text in pieces of at most so many bytes, none empty."""
        data = text.encode("utf-8", "replace")
        parts = []
        while len(data) > self._most:
            end = self._most
            while data[end] & 0xc0 == 0x80:
                end -= 1
            parts.append(data[:end].decode())
            data = data[end:]
        return parts + [data.decode()]

    def _entry(self, execution, line):
        if "\r" in line:
            line = line.rstrip("\r")
            line = line[line.rfind("\r") + 1:]
        for part in self._split(line) if len(line) * 4 > self._most else (line,):
            self._channel.log(execution, self._level, part)

    def finish(self):
        """Sends what the current thread wrote since its last line end."""
        decoder = tag.decoders.pop(self, None)
        rest = decoder.decode(b"", True) if decoder else ""
        rest = tag.partial.pop(self, "") + rest
        if rest:
            self._entry(tag.execution, rest)


class Handler(logging.Handler):
    """Sends records of logging. Has no lock: a thread that waits for credit holds up no other."""

    def __init__(self, channel):
        super().__init__()
        self._channel = channel
        self.setFormatter(logging.Formatter("%(message)s"))

    def createLock(self):
        self.lock = None

    def handle(self, record):
        passed = self.filter(record)
        if passed:
            self.emit(record if passed is True else passed)
        return passed

    def emit(self, record):
        number = record.levelno
        level = "DEBUG"
        for least, name in ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO")):
            if number >= least:
                level = name
                break
        try:
            message = self.format(record)
        except Exception:
            message = "log record %r cannot be formatted with %r\n%s" % (
                record.msg, record.args, traceback.format_exc())
        self._channel.log(tag.execution, level, message)


class Logs:
    """Everything that user code says, caught."""

    def __init__(self, channel, line_bytes):
        self.channel = channel
        self.stdout = Stream(channel, 1, "INFO", line_bytes)
        self.stderr = Stream(channel, 2, "ERROR", line_bytes)
        self.handler = Handler(channel)

    def install(self):
        sys.stdout = self.stdout
        sys.stderr = self.stderr
        root = logging.getLogger()
        root.addHandler(self.handler)
        root.setLevel(logging.INFO)
        logging.captureWarnings(True)
        threading.excepthook = self._thread_failed
        self._follow_threads()

    def finish(self):
        """Sends the current thread's last lines that have no end."""
        if tag.partial or tag.decoders:
            self.stdout.finish()
            self.stderr.finish()

    def error(self, error):
        """Logs an exception's traceback."""
        self.channel.log(tag.execution, "ERROR", describe(error)["stack"])

    def _thread_failed(self, args):
        if args.exc_type is SystemExit or args.exc_value is None:
            return
        name = args.thread.name if args.thread else "?"
        self.channel.log(tag.execution, "ERROR", "Exception in thread %s\n%s" % (
            name, describe(args.exc_value)["stack"]))

    def _tagged(self, execution, call, args, kwargs):
        """Runs call as a part of execution."""
        before = tag.execution
        tag.execution = execution
        try:
            return call(*args, **kwargs)
        finally:
            self.finish()
            tag.execution = before

    def _thread(self, execution, call, *args, **kwargs):
        """A thread's whole life as a part of execution; also what is said of its exception."""
        tag.execution = execution
        try:
            call(*args, **kwargs)
        finally:
            self.finish()

    def _follow_threads(self):
        """Threads that an execution starts, and work that it gives to pools, belong to it."""
        logs = self
        start = threading.Thread.start
        start_new = _thread.start_new_thread

        def start_tagged(thread):
            execution = tag.execution
            if execution is not None and "run" not in thread.__dict__:
                def run():
                    del thread.run
                    logs._thread(execution, thread.run)
                thread.run = run
            try:
                start(thread)
            except BaseException:
                thread.__dict__.pop("run", None)
                raise

        def start_new_tagged(call, args, *kwargs):
            execution = tag.execution
            if execution is None or not callable(call) or not isinstance(args, tuple):
                return start_new(call, args, *kwargs)
            return start_new(logs._thread, (execution, call) + args, *kwargs)

        threading.Thread.start = start_tagged
        _thread.start_new_thread = _thread.start_new = start_new_tagged
        if "concurrent.futures.thread" in sys.modules:
            self.follow_pools(sys.modules["concurrent.futures.thread"])
        else:
            sys.meta_path.insert(0, AfterImport("concurrent.futures.thread", self.follow_pools))

    def follow_pools(self, module):
        """Makes ThreadPoolExecutor.submit remember who submitted."""
        logs = self
        submit = module.ThreadPoolExecutor.submit

        def submit_tagged(pool, call, /, *args, **kwargs):
            execution = tag.execution
            if execution is None:
                return submit(pool, call, *args, **kwargs)
            return submit(pool, logs._tagged, execution, call, args, kwargs)

        module.ThreadPoolExecutor.submit = submit_tagged

    def forked(self):
        """In a child process: output goes where it went before there was a runner."""
        sys.stdout = sys.__stdout__
        sys.stderr = sys.__stderr__
        tag.execution = None
        tag.partial.clear()
        root = logging.getLogger()
        root.removeHandler(self.handler)
        self.handler.emit = logging.StreamHandler().emit
        root.addHandler(self.handler)


class AfterImport:
    """A finder that calls after(module) once the module of that name has been imported, and
    before() just before that."""

    def __init__(self, name, after, before=None):
        self._name = name
        self._after = after
        self._before = before

    def find_spec(self, name, path=None, target=None):
        if name != self._name:
            return None
        from importlib.machinery import PathFinder
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        if self._before:
            self._before()
        run = spec.loader.exec_module

        def run_and_tell(module):
            run(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self._after(module)

        spec.loader.exec_module = run_and_tell
        return spec
