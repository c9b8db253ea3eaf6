# SPDX-License-Identifier: Apache-2.0
"""A package of functions for Drover: each public method of ServiceRunner is one."""
import logging
import time

logger = logging.getLogger("hello")


class ServiceRunner:
    def run(self, name: str):
        """Greets somebody."""
        logger.info("greeting %s", name)
        return {"text": f"Hello, {name}!"}

    def count(self, to: int):
        """Counts, slowly, so that there is something to watch."""
        for number in range(1, to + 1):
            print("counted", number, flush=True)
            time.sleep(0.2)
        return to
