#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the fuzz targets (`make fuzz`, `make fuzz-merge`, and the suite "fuzz" of `make test`).

    python3 tests/fuzz/run.py --build build-fuzz [--seconds 600] [TARGET…]

First every target takes the inputs of tests/fuzz/corpus, then it makes new ones for --seconds, as
many targets at the same time as there are cores. What it finds goes to --cache (outside of the
tree) and is where the next run begins; without --cache it is thrown away. --merge moves what
reaches new code from there to tests/fuzz/corpus. An input that fails is kept in --failures, and the
command that repeats it is printed. Prints "ok TARGET" or "FAILED TARGET" for each.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INPUT_MAX = 4096  # bytes of an input
INPUT_SECONDS = 10  # one that takes longer is a failure
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:strict_string_checks=1:allocator_may_return_null=1",
              "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}


def targets():
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))


def shown(path):
    path = pathlib.Path(path).resolve()
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


class Result:
    """What became of one target."""

    def __init__(self, target, output, status):
        self.target, self.output, self.failed = target, output, status != 0
        stat = lambda name: int((re.findall(rf"^stat::{name}:\s+(\d+)", output, re.M) or [0])[-1])
        self.executions, self.rate = stat("number_of_executed_units"), stat("average_exec_per_sec")
        self.covered = int((re.findall(r"cov: (\d+)", output) or [0])[-1])

    def artifact(self):
        found = re.findall(r"Test unit written to (\S+)", self.output)
        return found[-1] if found else None

    def telling(self):
        """What went wrong and where, of some hundred lines of output."""
        lines, told = self.output.splitlines(), []
        for number, line in enumerate(lines):
            if re.search(r"does not hold|ERROR: |runtime error|SUMMARY: |did not end", line):
                told.append(line)
                told += lines[number + 1:number + 2] if "does not hold" in line else []
            elif re.match(r" +#\d+ .* (/\S+/)?(src|tests)/", line):
                told.append(line.split(" in ", 1)[-1].replace(str(ROOT) + "/", ""))
        return told[:40] or lines[-20:]


def command(options, target, folders, *more):
    line = [str(options.build / "fuzz" / target), *map(str, folders), f"-timeout={INPUT_SECONDS}", "-rss_limit_mb=2048",
            f"-artifact_prefix={options.failures}/{target}-", "-print_final_stats=1", f"-max_len={INPUT_MAX}",
            f"-seed={options.seed}", *more]
    words = HERE / "dict" / f"{target}.dict"
    return line + ([f"-dict={words}"] if words.exists() else [])


def execute(line, seconds):
    try:
        done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
                              env=dict(os.environ, **SANITIZERS), timeout=seconds + 120, check=False)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        return 124, (late.stdout or b"").decode(errors="replace") + "\nthe program did not end by itself"


def run_target(options, target):
    corpus = HERE / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    status, output = execute(command(options, target, [corpus], "-runs=0"), 120)
    if status or not options.seconds:
        return Result(target, output, status)
    with tempfile.TemporaryDirectory(prefix="drover-fuzz-") as scratch:
        new = options.cache / target if options.cache else pathlib.Path(scratch)
        new.mkdir(parents=True, exist_ok=True)
        return Result(target, *reversed(execute(command(options, target, [new, corpus],
                                                        f"-max_total_time={options.seconds}"), options.seconds)))


def merge_target(options, target):
    """Old and new inputs into a fresh corpus, the smallest that reaches the same code."""
    corpus, new = HERE / "corpus" / target, options.cache / target
    new.mkdir(parents=True, exist_ok=True)
    before = len(list(corpus.iterdir()))
    # By places reached alone, not by how often: the corpus stays small enough to be read.
    status, output = execute(command(options, target, [corpus, new], "-merge=1", "-use_counters=0"), 600)
    print(f"{target}: {before} inputs before, {len(list(corpus.iterdir()))} now", flush=True)
    return Result(target, output, status)


def report(options, result):
    print(f"{'FAILED' if result.failed else 'ok'} {result.target}: {result.executions} inputs, {result.rate} in a second, "
          f"{result.covered} places reached", flush=True)
    if not result.failed:
        return
    print("\n".join("    | " + line[:400] for line in result.telling()))
    if result.artifact():
        print(f"    the input: {shown(result.artifact())}\n"
              f"    again: {shown(options.build)}/fuzz/{result.target} {shown(result.artifact())}\n"
              f"    smaller: the same with -minimize_crash=1 -runs=100000 after it", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-fuzz", help="where the programs are")
    parser.add_argument("--seconds", type=int, default=600, help="for each target; 0: only the corpus")
    parser.add_argument("--cache", type=pathlib.Path, help="where new inputs are kept")
    parser.add_argument("--failures", type=pathlib.Path, default=ROOT / "build-fuzz" / "failures",
                        help="where inputs that fail are kept")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--merge", action="store_true", help="take what was found into the corpus")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(targets())}; default: all")
    options = parser.parse_args()
    options.build, options.failures = options.build.resolve(), options.failures.resolve()
    unknown = set(options.targets) - set(targets())
    if unknown or (options.merge and not options.cache):
        parser.error(f"there is no target {', '.join(unknown)}" if unknown else "--merge needs --cache")
    options.failures.mkdir(parents=True, exist_ok=True)
    work = merge_target if options.merge else run_target
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for done in concurrent.futures.as_completed([pool.submit(work, options, target)
                                                     for target in options.targets or targets()]):
            report(options, done.result())
            failed += done.result().failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
