#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that the simulation can fail: plants one mistake at a time into a copy of the source,
builds, and expects some seed to notice. Run by hand: tests/simulation/mutations.py [NAME…]"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = os.environ.get("DROVER_SEEDS", "4000")
OPERATION = "src/operation/"

# name: (file, what stands there, what is planted)
MUTATIONS = {
    "old-fence-recorded": ("lease.c", "lease->agent == agent && lease->fence == ref->fence", "lease->fence >= 0 && agent"),
    "capacity-ignored": ("dispatch.c", "agent->capacity - agent->lease_count - agent->fetching", "agent->capacity - agent->lease_count"),
    "lease-not-renewed": ("dispatch.c", "            lease->deadline = deadline;\n            lease->confirmed = true;\n            continue;", "            lease->confirmed = true;\n            continue;"),
    "silence-not-waited-for": ("dispatch.c", "now - agent->heard_at > 2 * lease_ms", "true"),
    "returned-is-counted": ("dispatch.c", 'STR("handed back by its agent"), false', 'STR("handed back by its agent"), true'),
    "unsent-is-counted": ("lease.c", "counted && lease->sent", "counted"),
    "start-before-sending": ("lease.c", "lease->recorded || !lease->sent ||", "lease->recorded ||"),
    "ended-attempt-confirmed": ("attempt.c", "(newest == fence && running)", "(newest == fence || running)"),
    "expectation-ignored": ("dispatch.c", "if (queue->expected == 0) {", "if (queue->expected >= 0) {"),
    "orphans-forgotten": ("recover.c", "        ending_submit(d, &end);\n", ""),
    "one-attempt-too-many": ("attempt.c", "attempts < most", "attempts <= most"),
    "on-reset-ignored": ("attempt.c", 'rerun = str_is(service.on_reset, "rerun")', "rerun = service.on_reset.len > 0"),
    "ending-not-retried": ("lease.c", "        list_push_back(&d->endings, &ending->node);\n        dispatch_tick_start(d);\n        return;\n", ""),
    "dropped-before-the-commit": ("lease.c", "lease->state = LEASE_HELD;  // the agent repeats it", "lease->state = LEASE_ENDING;"),
    "unrecorded-result-forgotten": ("lease.c", "if (ours && !lease->agent)", "if (false)"),
    "given-up-comes-back": ("dispatch.c", "if (map_get(d->ending, held[i].id))", "if (false)"),
    "dead-agent-keeps-leases": ("dispatch.c", "lease_end(d, lease, reason, true);", "lease->confirmed = true;"),
    "hello-keeps-the-message": ("dispatch.c", "            recover_confirm(d, held[i].id);\n", ""),
    "termination-ignored": ("attempt.c", "rerun && !execution.to_terminate && attempts", "rerun && attempts"),
    "fences-start-again": ("lease.c", "d->config.platform->epoch << 32 | ++d->counter", "++d->counter"),
}


def make(source, build):
    # Only the objects that changed are compiled again.
    return subprocess.run(["make", "-s", "-C", source, f"BUILD={build}", f"{build}/tests/test_leases"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def try_one(source, build, name):
    file, old, new = MUTATIONS[name]
    path = source / OPERATION / file
    text = path.read_text()
    if text.count(old) != 1:
        return f"its text stands {text.count(old)} times in {file}: the table is out of date"
    path.write_text(text.replace(old, new))
    try:
        built = make(source, build)
        if built.returncode:
            return "does not build:\n" + built.stdout[-800:]
        ran = subprocess.run([build / "tests/test_leases"], env={**os.environ, "DROVER_SEEDS": SEEDS},
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
        if ran.returncode == 0:
            return f"was not noticed in {SEEDS} seeds"
        said = re.search(r"^at .*$", ran.stdout, re.M)
        seed = re.search(r"DROVER_SEED=(\d+)", ran.stdout)
        print(f"  caught   {name}: seed {seed.group(1) if seed else '?'}, "
              f"{said.group(0) if said else 'the process ended with ' + str(ran.returncode)}", flush=True)
        return None
    finally:
        path.write_text(text)


def main():
    names = sys.argv[1:] or list(MUTATIONS)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="drover-mutations-") as folder:
        source, build = pathlib.Path(folder, "source"), pathlib.Path(folder, "build")
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", "build*", "__pycache__"))
        built = make(source, build)
        if built.returncode:
            sys.exit("the source does not build as it is:\n" + built.stdout[-2000:])
        for name in names:
            problem = try_one(source, build, name)
            if problem:
                failures += 1
                print(f"  MISSED   {name}: {problem}", flush=True)
    print(f"{len(names) - failures} of {len(names)} mistakes were noticed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
