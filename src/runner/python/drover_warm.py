# SPDX-License-Identifier: Apache-2.0
"""The warm image: a process that has loaded the module and forks one process for each execution, as
the agent asks for them. What was made for one process only is made anew in each fork."""
import array
import gc
import json
import os
import resource
import signal
import sys
import threading
import warnings

THREADS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "BLIS_NUM_THREADS", "MKL_NUM_THREADS",
           "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "OMP_NUM_THREADS")
# A word in a library's path, functions of which it has one, the variables that it heeds in order.
SETTERS = (
    ("blas", ("openblas_set_num_threads", "openblas_set_num_threads64_",
              "scipy_openblas_set_num_threads", "scipy_openblas_set_num_threads64_"),
     ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")),
    ("mkl_rt", ("MKL_Set_Num_Threads",), ("MKL_NUM_THREADS", "OMP_NUM_THREADS")),
    ("omp", ("omp_set_num_threads",), ("OMP_NUM_THREADS",)),
)
MESSAGE = 4096  # bytes
RIGHTS = 3  # descriptors that come with "fork": channel, standard output, standard error
GOES_FIRST = 700  # oom_score_adj, above the agent's and the warm image's
LATE = 127  # exit code of a process that could not begin


def usage():
    """What this process has used, as JSON for its result."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return b'{"peakMemoryKib":%d,"cpuMs":%d}' % (
        max(own.ru_maxrss, children.ru_maxrss), round(seconds * 1000))


class Threads:
    """Holds the thread pools of numeric libraries at one thread, until release in a fork."""

    def __init__(self):
        self._given = {name: os.environ[name] for name in THREADS if name in os.environ}
        for name in THREADS:
            os.environ.setdefault(name, "1")
        self._setters = []

    def _wanted(self, names):
        for name in names:
            text = self._given.get(name, "").split(",")[0].strip()
            if text.isdigit() and int(text) > 0:
                return int(text)
        return len(os.sched_getaffinity(0))

    def find(self):
        """Looks for the functions that release needs, in the libraries that are loaded by now."""
        try:
            with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
                paths = {line.split(None, 5)[5].strip() for line in file if ".so" in line}
            chosen = [(path, names, variables) for path in sorted(paths)
                      for word, names, variables in SETTERS if word in os.path.basename(path)]
            if chosen:
                import ctypes
            for path, names, variables in chosen:
                library = ctypes.CDLL(path)
                for name in names:
                    if hasattr(library, name):
                        self._setters.append((getattr(library, name), self._wanted(variables)))
                        break
        except (ImportError, OSError, IndexError) as error:
            sys.stderr.write("libraries keep one thread: %s\n" % error)

    def release(self):
        for name in THREADS:
            if name not in self._given and os.environ.get(name) == "1":
                del os.environ[name]
        for setter, count in self._setters:
            if count > 1:
                setter(count)


def reseed():
    """random does so by itself."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def goes_first():
    """When memory runs out, the process of an execution goes rather than what serves them all."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(GOES_FIRST))
    except OSError:
        pass


def woken(number, frame):
    """A child has ended. The handler exists so that the wake-up descriptor is written to."""


class Nursery:
    """The agent's requests for processes, and what it is told of their ends: messages in JSON on a
    socket of their own. Made before the module is loaded, at work afterwards."""

    def __init__(self, runner, fd):
        import _socket
        self._sockets = _socket
        self._runner = runner
        self._socket = _socket.socket(fileno=fd)
        self._children = {}  # pid → number
        self._start = (os.getcwd(), dict(os.environ))
        self._threads = Threads()
        self._wake = ()

    # In the warm image

    def serve(self):
        """The main thread's life; ends with the process."""
        import select
        runner = self._runner
        self._threads.find()
        runner.start_thread(runner.control_aside, "agent-control")
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        self._signals = (signal.signal(signal.SIGCHLD, woken), signal.set_wakeup_fd(
            self._wake[1], warn_on_full_buffer=False))
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake[0]:
                    self._reap()
                else:
                    self._take()

    def _tell(self, **members):
        try:
            self._socket.send(json.dumps(members).encode())
        except OSError:
            os._exit(1)  # the agent is gone

    def _take(self):
        descriptors = array.array("i")
        room = self._sockets.CMSG_SPACE(RIGHTS * descriptors.itemsize)
        data, parts, _, _ = self._socket.recvmsg(MESSAGE, room, self._sockets.MSG_CMSG_CLOEXEC)
        for _, _, rights in parts:
            descriptors.frombytes(rights[:len(rights) - len(rights) % descriptors.itemsize])
        if not data:
            os._exit(1)  # the agent is gone
        message = json.loads(data)
        if message.get("t") == "fork" and len(descriptors) == RIGHTS:
            self._fork(message["number"], descriptors)
        for fd in descriptors:
            os.close(fd)

    def _foreign(self):
        """How many threads there are that are not the runner's."""
        ours = {thread.native_id for thread in self._runner.threads if thread.is_alive()}
        try:
            found = {int(name) for name in os.listdir("/proc/self/task")}
        except OSError:
            return 0
        return len(found - ours - {threading.main_thread().native_id})

    def _fork(self, number, descriptors):
        foreign = self._foreign()
        runner = self._runner
        runner.giving_birth = True
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(t="refused", number=number, message=str(error))
            return
        finally:
            runner.giving_birth = False
        if pid == 0:
            self._live(foreign, *descriptors)
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass  # it has done so itself, and perhaps gone on
        self._children[pid] = number
        self._tell(t="forked", number=number, pid=pid, threads=foreign)

    def _reap(self):
        try:
            while len(os.read(self._wake[0], MESSAGE)) == MESSAGE:
                pass
        except BlockingIOError:
            pass
        for pid, number in list(self._children.items()):
            try:
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    continue
                # While its number cannot be another group's.
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass
            del self._children[pid]
            self._tell_end(pid, number)

    def _tell_end(self, pid, number):
        try:
            _, status, used = os.wait4(pid, 0)
        except ChildProcessError:  # a thread of user code has waited for it
            self._tell(t="ended", number=number)
            return
        self._tell(t="ended", number=number, status=status, peakMemoryKib=used.ru_maxrss,
                   cpuMs=round((used.ru_utime + used.ru_stime) * 1000))

    # In a fork

    def leave(self):
        """The descriptors are the warm image's."""
        for fd in self._wake:
            os.close(fd)
        self._wake = ()
        self._socket.close()

    def _live(self, foreign, channel, out, err):
        """A new process's whole life."""
        try:
            os.setpgid(0, 0)
            goes_first()
            signal.set_wakeup_fd(self._signals[1])
            if self._signals[0] is not None:
                signal.signal(signal.SIGCHLD, self._signals[0])
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.close(out)
            os.close(err)
            self.leave()
            if foreign:
                self._start_anew(channel)
            runner = self._runner
            runner.born(channel)
            self._threads.release()
            reseed()
            runner.start_thread(runner.control_aside, "agent-control")
            runner.serve_one()
        except BaseException:
            import traceback
            os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        finally:
            os._exit(LATE)

    def _start_anew(self, channel):
        """A fork would lack the module's own threads: an interpreter that loads it by itself."""
        folder, environment = self._start
        os.dup2(channel, 3)
        os.chdir(folder)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drover_runner.py")
        os.execve(sys.executable, [sys.executable, script], environment)
