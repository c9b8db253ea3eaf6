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
SEEDS = os.environ.get("DROVER_SEEDS", "30000")  # where a mistake's own seed does not show it any more

# Which simulation has to notice, and where the mistakes are planted.
PROGRAMS = {"test_leases": ("src/operation",), "test_life": ("src/control", "src/driver", "src/operation", "src/store")}

# name: (what stands once in one file of those folders, what is planted, a seed that shows it)
LEASES = {
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
    "dead-agent-keeps-leases": ("lease_end(d, lease, reason, counted);", "(void)reason, (void)counted;"),
    "hello-keeps-the-message": ("held[i].to_terminate |= recover_confirm(d, held[i].id);", ""),
    "termination-ignored": ("rerun && !execution.to_terminate && attempts", "rerun && attempts"),
    "fences-start-again": ("platform->fences->epoch << 32 | ++platform->fences->last", "++platform->fences->last"),
    "rerun-keeps-the-fence": ("out->fence = out->rerun_fence = fence_next(op->platform);", ""),
    "rerun-beside-the-old-run": ("        lease->again = true;", "        dispatch_publish(d, event->service_id, &(struct queue_message){.id = event->id}, false);"),
    "rerun-forgotten": ("    if (lease->again)\n", "    if (false)\n"),
    "rerun-takes-an-old-result": ("execution->rerun_fence > 0)", "false)"),
    "outdated-read-handed-out": ("    if (outdated)\n        *outdated = true;\n    if (lease && !lease->sent)", "    (void)outdated;\n    if (lease && !lease->sent)"),
}

LIFE = {
    "all-old-ones-go-at-once": ("sum.ready > wish->replicas; i++", "sum.ready >= wish->replicas; i++"),
    "ready-is-not-told": ("driver_ready(control->driver, replica_id, str_is(str_of(state), \"ready\"));", "(void)0;"),
    "more-than-wanted": ("int64_t missing = wish->replicas - sum.current;", "int64_t missing = wish->replicas + 1 - sum.current;"),
    "failed-read-forgotten": ("    list_push_back(&control->again, &r->again);\n", "    list_push_back(&control->again, &r->again);\n    list_remove(&r->again);\n"),
    "scale-goes-back": ("out->runtime = keep_scale(out->runtime, before->runtime, op->arena);", "(void)keep_scale;"),
    "a-stop-counts-as-failure": ("silent || !status->stopped);", "true);"),
    "good-is-not-noted": ("service.good_version = service.version;", "service.good_version = service.good_version;"),
    "resume-keeps-the-incident": ("notification_resolve(op, NOTIFICATION_CRASH_LOOP, out->id, err)", "false"),
    "no-word-of-the-rollback": ("return notify(op, &now, NOTIFICATION_ROLLED_BACK,", "return false && notify(op, &now, NOTIFICATION_ROLLED_BACK,"),
    "greeting-is-not-awaited": ("                         ? loop_timer_start(view->control->platform->loop, GREETING_MS, 0,", "                         ? loop_timer_start(view->control->platform->loop, INT64_MAX / 4, 0,"),
    "silent-ones-live-on": ("if (driver_signal(control->driver, replica_id, REPLICA_KILL, &err))", "if (false)"),
    "back-off-without-end": ("set_timer(slot, slot->backoff_ms, on_backoff_over);", "(void)on_backoff_over;"),
    "drain-without-end": ("        set_timer(slot, slot->drain_ms, on_time_up);", "        set_timer(slot, 0, NULL);"),
}

MUTATIONS = {name: (program, *entry) for program, table in (("test_leases", LEASES), ("test_life", LIFE))
             for name, entry in table.items()}


def make(source, build, program="test_leases"):
    # Only the objects that changed are compiled again.
    return subprocess.run(["make", "-s", "-C", source, f"BUILD={build}", f"{build}/tests/{program}"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def place_of(source, name):
    """The file where its text stands, and stands once; None: the table is out of date."""
    program, old = MUTATIONS[name][:2]
    found = [path for folder in PROGRAMS[program] for path in (source / folder).rglob("*.c") if old in path.read_text()]
    return found[0] if len(found) == 1 and found[0].read_text().count(old) == 1 else None


def check():
    lost = [name for name in MUTATIONS if not place_of(ROOT, name)]
    for name in lost:
        print(f"tests/simulation/mutations.py: the text of {name} does not stand once in its folders: mend the table")
    return 1 if lost else 0


def run(program, first, count):
    """What the simulation says; None: it noticed nothing."""
    try:
        ran = subprocess.run([program], env={**os.environ, "DROVER_FIRST": str(first), "DROVER_SEEDS": str(count)},
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        return None
    return None if ran.returncode == 0 else ran.stdout + f"the process ended with {ran.returncode}"


def notice(build, name):
    """What is said of the planted mistake: by its own seed, else by all."""
    program, seed = build / "tests" / MUTATIONS[name][0], (MUTATIONS[name] + (None,))[3]
    said = run(program, seed, 1) if seed is not None else None
    return said or run(program, 1, SEEDS)


def try_one(source, build, name):
    program, old, new = MUTATIONS[name][:3]
    path = place_of(source, name)
    if not path:
        return "its text does not stand once in its folders: the table is out of date"
    text = path.read_text()
    path.write_text(text.replace(old, new))
    try:
        built = make(source, build, program)
        if built.returncode:
            return "does not build:\n" + built.stdout[-800:]
        said = notice(build, name)
        if said is None:
            return f"was not noticed in {SEEDS} seeds"
        line = re.search(r"^at .*$", said, re.M)
        seed = re.search(r"DROVER_SEED=(\d+)", said)
        print(f"  caught   {name}: seed {seed.group(1) if seed else '?'}, "
              f"{line.group(0) if line else said.splitlines()[-1]}", flush=True)
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
        for program in PROGRAMS:
            built = make(source, build, program)
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
