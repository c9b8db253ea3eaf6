# SPDX-License-Identifier: Apache-2.0
"""Measures a runner alone: invokes per second, CPU per invoke, memory.

python3 bench/runner_calls.py [--runner build/runner] [--python python3] [--transport c|python]
"""
import argparse
import json
import os
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "runner"))
from agent import Agent  # noqa: E402


def measure(agent, count, depth):
    """Runs count invokes, depth of them at a time; gives seconds. Frames are counted by their
    first bytes, so that this process stays cheaper than the one it measures."""
    invoke = json.dumps({"t": "invoke", "id": "65f000000000000000000001", "fence": 1,
                         "function": "run", "input": {"n": 1}, "execution": {}}).encode()
    invoke = struct.pack(">I", len(invoke)) + invoke
    sock, left, sent, done, credit = agent.socket, b"", depth, 0, 0
    start = time.perf_counter()
    sock.sendall(invoke * depth)
    while done < count:
        data = left + sock.recv(1 << 18)
        at = results = 0
        while len(data) - at >= 4:
            size = int.from_bytes(data[at:at + 4], "big")
            if len(data) - at - 4 < size:
                break
            if data[at + 10:at + 13] == b"log":
                credit += size
            elif data[at + 10:at + 16] == b"result":
                results += 1
            at += 4 + size
        left = data[at:]
        done += results
        more = min(results, count - sent)
        out = invoke * more
        sent += more
        if credit > 1 << 18:
            frame = b'{"t":"credit","bytes":%d}' % credit
            out += struct.pack(">I", len(frame)) + frame
            credit = 0
        if out:
            sock.sendall(out)
    if credit:
        frame = b'{"t":"credit","bytes":%d}' % credit
        sock.sendall(struct.pack(">I", len(frame)) + frame)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runner", default="build/runner")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--transport", default="c", choices=("c", "python"))
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--concurrency", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "main.py"), "w", encoding="ascii") as file:
            file.write("def run(n):\n    return n\n")
        agent = Agent(options.runner, folder, options.transport, options.python)
        agent.load(["run"], concurrency=options.concurrency)
        memory = agent.usage()[1]
        print("idle memory: %d KiB" % memory)
        for depth in (1, options.concurrency):
            measure(agent, options.count // 10, depth)
            before = agent.usage()[0]
            seconds = measure(agent, options.count, depth)
            cpu = agent.usage()[0] - before
            print("%d at a time: %.0f invokes/s, %.1f us CPU each" % (
                depth, options.count / seconds, cpu * 1e6 / options.count))
        agent.close()


if __name__ == "__main__":
    main()
