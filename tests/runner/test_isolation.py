# SPDX-License-Identifier: Apache-2.0
"""User code that closes descriptors, forks, exits, catches signals: the protocol survives."""
import os
import signal
import time

DONE = "[Done] Executing function."


def test_the_socket_is_not_on_descriptor_3(start):
    agent = start("""
        import os, subprocess
        def run():
            for action in (lambda: os.write(3, b"junk"), lambda: os.close(3)):
                try:
                    action()
                except OSError as error:
                    print(error.errno)
            out = subprocess.run(["ls", "-l", "/proc/self/fd"], stdout=subprocess.PIPE,
                                 close_fds=False).stdout.decode()
            return out.count("socket:")
    """)
    agent.load(["run"])
    assert agent.output("e1") == 0
    assert agent.lines("e1") == ["9", "9", DONE]
    assert agent.output("e2") == 0


def test_forked_children_do_not_speak(start):
    agent = start("""
        import multiprocessing, os, sys, logging
        def child(queue):
            print("from the child"); logging.warning("logged by the child")
            queue.put(os.getpid())
        def run():
            context = multiprocessing.get_context("fork")
            queue = context.Queue()
            process = context.Process(target=child, args=(queue,))
            process.start()
            pid = queue.get(timeout=15)
            process.join()
            return [pid != os.getpid(), process.exitcode]
        def stray():
            if os.fork() == 0:
                return "a child that comes back"
            return [os.WEXITSTATUS(os.wait()[1]), "parent"]
        def failing():
            if os.fork() == 0:
                raise ValueError("a child that fails")
            return os.WEXITSTATUS(os.wait()[1])
        def kill():
            context = multiprocessing.get_context("fork")
            import time
            process = context.Process(target=time.sleep, args=(60,))
            process.start()
            process.terminate()
            process.join(15)
            return process.exitcode
    """)
    agent.load(["run", "stray", "failing", "kill"])
    for round in range(5):
        assert agent.output("a%d" % round) == [True, 0]
        assert agent.output("b%d" % round, "stray") == [0, "parent"]
        assert agent.output("c%d" % round, "failing") == 0
        assert agent.lines("a%d" % round) == [DONE]
    assert agent.output("d", "kill") == -signal.SIGTERM
    assert agent.stop() == 0
    assert agent.process.stdout.read().count(b"from the child") == 5
    assert agent.process.stderr.read().count(b"logged by the child") == 5


def test_spawned_children_find_the_module(start):
    agent = start("""
        import multiprocessing
        def square(n): return n * n
        def run():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                return pool.map(square, [1, 2, 3])
    """)
    agent.load(["run"])
    assert agent.output("e1") == [1, 4, 9]


def test_os_exit_sends_what_was_said(start):
    agent = start("""
        import os
        def run():
            print("last words")
            os._exit(9)
    """)
    agent.load(["run"])
    agent.invoke("e1")
    assert agent.drain() == 9
    assert agent.lines("e1") == ["last words"]


def test_a_crash_leaves_a_stack_on_stderr(start):
    agent = start("""
        import ctypes
        def run(): ctypes.string_at(0)
    """)
    agent.load(["run"])
    agent.invoke("e1")
    assert agent.drain() == -signal.SIGSEGV
    stderr = agent.process.stderr.read()
    assert b"Segmentation fault" in stderr and b"main.py" in stderr


def test_signals_to_the_group_are_not_the_runners(start):
    agent = start("""
        import time
        def run():
            time.sleep(0.3)
            return 1
    """)
    agent.load(["run"])
    agent.invoke("e1")
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(agent.process.pid, number)
    assert agent.result("e1")["output"] == 1
    assert agent.output("e2") == 1


def test_signal_handlers_of_user_code_run(start):
    agent = start("""
        import signal
        count = []
        signal.signal(signal.SIGUSR1, lambda number, frame: count.append(number))
        def run(): return len(count)
    """)
    agent.load(["run"])
    os.kill(agent.process.pid, signal.SIGUSR1)
    end = time.monotonic() + 10
    while agent.output("e%f" % time.monotonic()) == 0:
        assert time.monotonic() < end


def test_programs_that_user_code_starts_can_be_stopped(start):
    agent = start("""
        import subprocess
        def run():
            process = subprocess.Popen(["sleep", "60"])
            process.terminate()
            return process.wait(15)
    """)
    agent.load(["run"])
    assert agent.output("e1") == -signal.SIGTERM


def test_user_code_may_close_or_replace_its_streams(start):
    agent = start("""
        import contextlib, io, sys
        def run():
            text = io.StringIO()
            with contextlib.redirect_stdout(text):
                print("captured")
            sys.stdout.close(); sys.stdout.flush()
            print("still here")
            return text.getvalue()
    """)
    agent.load(["run"])
    assert agent.output("e1") == "captured\n"
    assert agent.lines("e1") == ["still here", DONE]


def test_idle_memory_is_small(start, transport):
    agent = start("def run(): return 1")
    agent.load(["run"], concurrency=10)
    # Against the interpreter alone: what site-packages adds at its start is not the runner's.
    import subprocess
    alone = int(subprocess.run(
        [agent.process.args[4], "-c",
         "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmRSS')][0])"],
        stdout=subprocess.PIPE, check=True).stdout)
    assert agent.usage()[1] - alone < 6 << 10
