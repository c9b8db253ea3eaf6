# SPDX-License-Identifier: Apache-2.0
import statistics

median = statistics.median


def percentile(values, part):
    values = sorted(values)
    return values[min(int(len(values) * part), len(values) - 1)]


def percentiles(seconds, *parts):
    """{"p50 ms": …} of times in seconds."""
    return {f"p{part * 100:g} ms": percentile(seconds, part) * 1e3 for part in parts}
