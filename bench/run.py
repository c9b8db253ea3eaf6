#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures a whole Drover through its public API, peers that do the same work, and the limits of the
machine beside it (`make bench`).

Each workload runs --runs times, interleaved with the others, on a fresh server each time. A table of medians
with the smallest and the largest, targets and ratios is printed and kept, with the machine's facts, in
bench/results/. Figures of one run may be compared with each other, as ratios; those of different machines or
hours may not. A workload that fails is named, and the others go on.

Examples:
  make bench                                        everything, 5 runs: an hour or two
  make bench BENCH="--quick"                        everything once and small: some minutes
  python3 bench/run.py --runs 3 single celery disk  some workloads
  python3 bench/run.py --history 1000000 history    a smaller history
  python3 bench/run.py --again bench/results/DATE.json queue   one workload anew, into that result
  python3 bench/report.py bench/results/DATE.json   writes docs/performance.md from a result
"""
import argparse
import dataclasses
import json
import os
import pathlib
import shlex
import signal
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests"), str(ROOT / "tools")]


def take_build():
    """--build names the folder of the programs, as DROVER_BUILD does; it must be known before harness is imported."""
    if "--build" in sys.argv[:-1]:
        os.environ["DROVER_BUILD"] = str((pathlib.Path.cwd() / sys.argv[sys.argv.index("--build") + 1]).resolve())


import run_tests  # noqa: E402
if pathlib.Path(sys.prefix) != run_tests.venv_folder():  # the tests' environment has what this needs, dtlpy too
    run_tests.make_venv()
    os.execv(run_tests.venv_python(), [str(run_tests.venv_python()), *sys.argv])
take_build()
import harness  # noqa: E402
from support import facts, sizes, table  # noqa: E402
from support.platform import Context  # noqa: E402
from support.programs import Failed  # noqa: E402
from workloads import BY_NAME, WORKLOADS  # noqa: E402


class Progress:
    """Says what is going on, on stderr, with the time since the start."""

    def __init__(self):
        self.start = time.monotonic()

    def say(self, text):
        seconds = int(time.monotonic() - self.start)
        print(f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} {text}", file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD",
                        help=f"of: {', '.join(BY_NAME)} (all when none is named)")
    parser.add_argument("--runs", type=int, help="how often each is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="everything once, and small")
    parser.add_argument("--full", action="store_true", help="longer growth curves: 10,000 services, 100 agents")
    parser.add_argument("--tiny", action="store_true", help="as small as can be: shows that everything runs, measures nothing")
    parser.add_argument("--no-peers", action="store_true", help="without the peers")
    parser.add_argument("--queued", type=int, help="executions that wait (default 1,000,000)")
    parser.add_argument("--history", type=int, help="executions that have ended (default 10,000,000)")
    parser.add_argument("--services", type=int, help="idle services (default 10,000)")
    parser.add_argument("--folder", default="/var/tmp", help="where the servers' data goes: a real disk (default /var/tmp)")
    parser.add_argument("--out", help="result file (default bench/results/DATE.json, and .md beside it)")
    parser.add_argument("--again", metavar="RESULT", help="measure these workloads anew in an earlier result of this machine")
    parser.add_argument("--busy", action="store_true", help="do not wait until the machine has nothing else to do")
    parser.add_argument("--no-file", action="store_true", help="only print")
    parser.add_argument("--build", help="folder of the programs (default build)")
    args = parser.parse_args()
    unknown = [name for name in args.workloads if name not in BY_NAME]
    if unknown:
        parser.error(f"there is no workload {unknown[0]}; there are: {', '.join(BY_NAME)}")
    if args.again and not args.workloads:
        parser.error("--again needs the names of the workloads that are measured anew")
    return args


def wait_for_quiet(progress, minutes=5, most=0.1):
    """Until other work takes less than a tenth of the cores; ends the program when that does not come."""
    for number in range(minutes * 12):
        busy = facts.busy(5)
        if busy < most:
            return
        if number == 0:
            progress.say(f"other work takes {busy:.0%} of this machine; waiting until it ends (--busy does not wait)")
    sys.exit(f"other work still takes {busy:.0%} of this machine after {minutes} minutes: what is measured now would say "
             "little; end it, or measure all the same with --busy")


def choose_sizes(args):
    chosen = sizes.TINY if args.tiny else sizes.QUICK if args.quick else sizes.FULL if args.full else sizes.USUAL
    given = {name: getattr(args, name) for name in ("runs", "queued", "history", "services") if getattr(args, name)}
    return dataclasses.replace(chosen, **given)


def places(result, name, again):
    """Where a workload's figures go. again: what is measured anew in an earlier result; a limit that is measured
    only for these is kept with each, for the others were beside another."""
    if not again:
        return [result["figures"]]
    beside = [result.setdefault("beside", {}).setdefault(one, {}) for one in again if name in BY_NAME[one].limits()]
    return [result["figures"]] * (name in again) + beside


def with_limits(names):
    """The workloads, and those that give the limits of their targets."""
    needed = {limit for name in names for limit in BY_NAME[name].limits()}
    return [one for one in WORKLOADS if one.name in needed.union(names)]


def measure_one(workload, context, result, progress, again):
    """One run of one workload into the result; says what went wrong."""
    before = time.monotonic()
    try:
        found = workload.measure(context)
    except KeyboardInterrupt:
        raise
    except Exception as error:  # whatever it is, the others go on
        text = str(error) if isinstance(error, (Failed, AssertionError)) else traceback.format_exc(limit=-3)
        result["failed"].setdefault(workload.name, []).append(text.strip())
        progress.say(f"FAILED {workload.name}: {text.strip()}")
        return
    for figure, value in found.items():
        if figure.startswith("curve "):
            result["curves"].setdefault(figure[6:], []).append(value)
            continue
        for figures in places(result, workload.name, again):
            figures.setdefault(workload.name, {}).setdefault(figure, []).extend(value if isinstance(value, list) else [value])
    shown = "; ".join(f"{figure} {table.number(table.middle(value))}" for figure, value in found.items()
                      if not figure.startswith("curve "))
    progress.say(f"  {time.monotonic() - before:.1f} s: {shown}")


def measure(chosen, size, folder, result, progress, path, again):
    context = Context(folder, size, lambda text: progress.say(f"    {text}"))
    for number in range(size.runs):  # interleaved, so that all see the same minutes
        for workload in chosen:
            if number and workload.once:
                continue
            if len(result["failed"].get(workload.name, [])) > 1:
                continue  # twice is enough
            progress.say(f"run {number + 1}/{1 if workload.once else size.runs}: {workload.name}: {workload.title}")
            result["machine"]["load during"].append(facts.load())
            measure_one(workload, context, result, progress, again)
            for problem in context.problems:
                result["problems"].append(f"{workload.name}: {problem}")
                progress.say(f"  the server complained: {problem}")
            context.problems.clear()
            if path:  # what is measured is kept, whatever comes
                path.write_text(json.dumps(result, indent=1) + "\n")


def result_path(args, when):
    if args.no_file:
        return None
    path = pathlib.Path(args.out) if args.out else HERE / "results" / (when[:19].replace(":", "") + ".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def keep(result, found, path):
    path.write_text(json.dumps(result, indent=1) + "\n")
    lines = [f"# {result['command']}", ""] + [f"- {name}: {value}" for name, value in result["machine"].items()]
    lines += ["", table.markdown(found), ""]
    lines += [f"- failed: {name}: {texts[0].splitlines()[-1]}" for name, texts in result["failed"].items()]
    path.with_suffix(".md").write_text("\n".join(lines).rstrip() + "\n")
    print(f"\nkept in {path} and {path.with_suffix('.md').name}")


def earlier(path, names):
    """The result in the file, without what is measured anew."""
    result = json.loads(pathlib.Path(path).read_text())
    for name in names:
        for part in ("figures", "failed", "beside"):
            result.get(part, {}).pop(name, None)
        result["curves"].pop("services" if name == "service-count" else name, None)
    result["problems"] = [one for one in result["problems"] if one.split(":")[0] not in names]
    result["machine"]["measured again"] = "; ".join(
        [*filter(None, [result["machine"].get("measured again")]), f"{', '.join(names)} on {facts.now()}"])
    return result


def main():
    args, progress = arguments(), Progress()
    size = choose_sizes(args)
    result = {"command": "python3 bench/run.py " + shlex.join(sys.argv[1:]), "machine": facts.machine(args.folder),
              "sizes": dataclasses.asdict(size), "figures": {}, "curves": {}, "failed": {}, "problems": []}
    path = result_path(args, result["machine"]["when"])
    if args.again:
        result, path = earlier(args.again, args.workloads), pathlib.Path(args.again)
        size = sizes.Sizes(**result["sizes"])
    chosen = with_limits(args.workloads) or [
        one for one in WORKLOADS if not (args.no_peers and one.kind == "peer")]
    if not args.busy and size.seconds > sizes.TINY.seconds:
        wait_for_quiet(progress)
    result["machine"].setdefault("load before", facts.load())
    result["machine"]["load during"] = []
    if result["machine"]["disk"].startswith("tmpfs"):
        progress.say(f"{args.folder} is not on a disk: nothing there is durable; name one with --folder")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is ended
    with tempfile.TemporaryDirectory(prefix="drover-bench-", dir=args.folder) as folder:
        try:
            measure(chosen, size, folder, result, progress, path, args.workloads if args.again else [])
        except KeyboardInterrupt:
            progress.say("interrupted; what was measured so far follows")
            result["failed"]["interrupted"] = ["by the keyboard"]
    during = result["machine"].pop("load during") or [0]
    result["machine"]["load during, median and most"] = f"{table.summary(during)['median']:.2f}, {max(during):.2f}"
    took = round((time.monotonic() - progress.start) / 60, 1)
    result["machine"]["took, minutes"] = round(result["machine"].get("took, minutes", 0) + took, 1)
    found = table.rows(result, BY_NAME)
    print("\n" + table.text(found))
    for name, texts in result["failed"].items():
        print(f"FAILED {name}, {len(texts)} times; first: {texts[0].splitlines()[-1]}")
    for problem in sorted(set(result["problems"])):
        print(f"a server complained: {problem}")
    if path:
        keep(result, found, path)
    return 1 if result["failed"] or result["problems"] else 0


if __name__ == "__main__":
    assert harness.BUILD
    sys.exit(main())
