# SPDX-License-Identifier: Apache-2.0
"""What the API tests run inside Drover: one function for each thing that can happen."""
import logging
import os
import sys
import time

import dtlpy as dl

logger = logging.getLogger("workhorse")


class ServiceRunner(dl.BaseServiceRunner):
    def __init__(self, greeting):
        self.greeting = greeting

    def echo(self, value):
        return value

    def add(self, a, b):
        return a + b

    def hello(self, name):
        return f"{self.greeting}, {name}!"

    def size(self, item):
        return {"name": item.name, "bytes": len(item.download(save_locally=False).read())}

    def fail(self, text):
        raise ValueError(text)

    def steps(self, count, progress):
        for step in range(count):
            progress.update(progress=100 * step // count, message=f"step {step}")
            time.sleep(0.15)
        return count

    def talk(self, lines):
        for number in range(lines):
            print(f"printed {number} – ünïcode 你好")
        logger.info("logged as info")
        logger.warning("logged as warning")
        print("to standard error", file=sys.stderr)

    def nap(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.kill_event()
            time.sleep(0.02)
        return "rested"

    def many(self, seconds):
        time.sleep(seconds)

    def odd(self):
        return {"ten": 2**70, "tenth": 0.1, "none": None, "yes": True, "text": "ключ 😀 \u2028 \"quoted\" \\",
                "list": [1, [2, []], {}], "small": 5e-324, "negative": -0.0}

    def unprintable(self):
        return object()

    def who(self):
        return dl.info()["user_email"]

    def describe(self, context):
        return {"service": context.service.name, "project": context.project.id, "package": context.package.name}

    def leave(self):
        os._exit(3)
