#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that the simulation can fail: plants one mistake at a time into a copy of the source,
builds, and expects some seed to notice. Run by hand: tests/simulation/mutations.py [NAME…]
With --check it only says whether each mistake still has its place in the source (part of `make lint`)."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = os.environ.get("DROVER_SEEDS", "30000")  # the rarest mistake shows after some 21,000
OPERATION = "src/operation/"

# name: (what stands in one file of src/operation, what is planted)
MUTATIONS = {
    "old-fence-recorded": ("lease->agent == agent && lease->fence == ref->fence", "lease->fence >= 0 && agent"),
    "capacity-ignored": ("agent->capacity - agent->lease_count - agent->fetching", "agent->capacity - agent->lease_count"),
    "lease-not-renewed": ("            lease->deadline = deadline;\n            lease->confirmed = true;", "            lease->deadline = deadline < lease->deadline ? deadline : lease->deadline;\n            lease->confirmed = true;"),
    "silence-not-waited-for": ("now - agent->heard_at > 2 * lease_ms", "true"),
    "returned-is-counted": ('STR("handed back by its agent"), false', 'STR("handed back by its agent"), true'),
    "unsent-is-counted": ("counted && lease->sent", "counted"),
    "start-before-sending": ("lease->recorded || !lease->sent ||", "lease->recorded ||"),
    "ended-attempt-confirmed": ("(newest == fence && running)", "(newest == fence || running)"),
    "expectation-ignored": ("if (queue->expected == 0)\n", "if (queue->expected >= 0)\n"),
    "orphans-forgotten": ("            .counted = true,\n        };\n        ending_submit(d, &end);", "        };\n        (void)end;"),
    "one-attempt-too-many": ("attempts < most", "attempts <= most"),
    "on-reset-ignored": ('rerun = str_is(service.on_reset, "rerun")', "rerun = service.on_reset.len > 0"),
    "ending-not-retried": ("        list_push_back(&d->endings, &ending->node);\n        dispatch_tick_start(d);\n        return;\n", ""),
    "dropped-before-the-commit": ("lease->state = LEASE_HELD;  // the agent repeats it", "lease->state = LEASE_ENDING;"),
    "unrecorded-result-forgotten": ("if (ours && !lease->agent)", "if (false)"),
    "given-up-comes-back": ("if (map_get(d->ending, held[i].id))", "if (false)"),
    "rerun-ended-by-the-past": ("state != 0 || !execution.to_terminate", "state != 0"),
    "dead-agent-keeps-leases": ("lease_end(d, lease, reason, counted);", "(void)reason;"),
    "hello-keeps-the-message": ("held[i].to_terminate |= recover_confirm(d, held[i].id);", ""),
    "termination-ignored": ("rerun && !execution.to_terminate && attempts", "rerun && attempts"),
    "fences-start-again": ("platform->fences->epoch << 32 | ++platform->fences->last", "++platform->fences->last"),
    "rerun-keeps-the-fence": ("out->fence = out->rerun_fence = fence_next(op->platform);", ""),
    "rerun-beside-the-old-run": ("        lease->again = true;", "        dispatch_publish(d, event->service_id, &(struct queue_message){.id = event->id}, false);"),
    "rerun-forgotten": ("    if (lease->again)\n", "    if (false)\n"),
    "rerun-takes-an-old-result": ("execution->rerun_fence > 0)", "false)"),
    "outdated-read-handed-out": ("    if (outdated)\n        *outdated = true;\n    if (lease && !lease->sent)", "    (void)outdated;\n    if (lease && !lease->sent)"),
}


def make(source, build):
    # Only the objects that changed are compiled again.
    return subprocess.run(["make", "-s", "-C", source, f"BUILD={build}", f"{build}/tests/test_leases"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def place_of(source, name):
    """The file where its text stands, and stands once; None: the table is out of date."""
    old = MUTATIONS[name][0]
    found = [path for path in (source / OPERATION).glob("*.c") if old in path.read_text()]
    return found[0] if len(found) == 1 and found[0].read_text().count(old) == 1 else None


def check():
    lost = [name for name in MUTATIONS if not place_of(ROOT, name)]
    for name in lost:
        print(f"tests/simulation/mutations.py: the text of {name} does not stand once in {OPERATION}: mend the table")
    return 1 if lost else 0


def try_one(source, build, name):
    old, new = MUTATIONS[name]
    path = place_of(source, name)
    if not path:
        return f"its text does not stand once in {OPERATION}: the table is out of date"
    text = path.read_text()
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
    if sys.argv[1:] == ["--check"]:
        return check()
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
