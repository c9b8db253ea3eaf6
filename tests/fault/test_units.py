# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation fails in the C test programs: they may stop with a sentence and an abort, or a
test of theirs may fail, but nothing is read or written where it must not be."""
import os
import random
import re
import signal
import subprocess

import pytest

import faults
import harness

PROGRAMS = ["test_router", "test_blob", "test_token", "test_logs", "test_map", "test_json", "test_net_http", "test_store",
            "test_option", "test_model_filter", "test_store_sqlite", "test_token", "test_settings"]
WILD = re.compile(r"Segmentation fault|Bus error|double free|corrupted|invalid pointer|free\(\)")


def run(program, control):
    environment = dict(os.environ, LD_PRELOAD=faults.libraries()[1], FAULT_CONTROL=str(control.path))
    return subprocess.run([program], env=environment, capture_output=True, text=True, timeout=300 * harness.SLOW,
                          check=False, errors="replace")


@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer brings its own malloc: failing it needs a plain build")
@pytest.mark.timeout(86400 if faults.LONG else 300)
@pytest.mark.parametrize("name", faults.part(PROGRAMS, 4))
def test_the_nth_allocation_fails(tmp_path, name):
    faults.make("{build}/tests/" + name)
    program = harness.BUILD / "tests" / name
    control = faults.Control(tmp_path / "control")
    control.arm("memory", 0)
    assert run(program, control).returncode == 0
    total = control.get("seen")
    some = range(1, total + 1) if faults.LONG else sorted(
        random.Random(f"{harness.SEED} {name}").sample(range(1, total + 1), min(4, total)))
    ends = {}
    for number in some:
        control.arm("memory", "ENOMEM", first=number, count=1)
        ran = run(program, control)
        wild = WILD.search(ran.stdout + ran.stderr)
        assert not wild and ran.returncode not in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGFPE), \
            f"allocation {number} of {total}: {ran.returncode} {(ran.stdout + ran.stderr)[-1500:]}"
        how = "aborted" if ran.returncode < 0 or "out of memory" in ran.stderr else "went on" if not ran.returncode \
            else "failed"
        ends[how] = ends.get(how, 0) + 1
    print(f"\n    {name}: {len(some)} of {total} allocations failed in turn: {ends}, seed {harness.SEED}")
