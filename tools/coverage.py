#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the C tests reach: `make coverage`, and the suite "coverage" of `make test`.

Runs the unit, contract and simulation programs of build-cov, prints a table of rooms, and writes
build-cov/coverage/index.html. Then looks at WHOLE: the files that hold the execution's states, its
leases and its fences. Each of their branches must be taken by some test; one that is not is named,
and makes this program end with 1. What no test can reach is marked in the source, with the reason:
`// GCOV_EXCL_BR_LINE: why`.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WHOLE = ["src/model/status.c", "src/store/sqlite/hot.c", "src/store/memory/hot.c"] + [
    f"src/operation/{name}.c" for name in ("assignment", "attempt", "dispatch", "handout", "lease", "recover", "start")]
# Branches that these macros make (an absent text is printed as nothing; a level that is off) decide nothing.
MACROS = r".*(STR_ARG\(|\blog_(error|warn|info|debug)\().*"
SEEDS = 2000  # of the simulation: as many as it takes, some times over
PARTS = 8


def programs(build):
    """(command, environment) of every test program; the longest first."""
    names = ["test_dispatch", "test_handout"] + [path.stem for folder in ("unit", "contract") for path in sorted((ROOT / "tests" / folder).glob("test_*.c"))]
    share = SEEDS // PARTS
    parts = [("test_leases", {"DROVER_FIRST": str(first), "DROVER_SEEDS": str(share)}) for first in range(0, SEEDS, share)]
    return [(build / "tests" / name, dict(os.environ, **env)) for name, env in parts + [(name, {}) for name in names]]


def run(program):
    path, env = program
    done = subprocess.run([path], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=900, check=False)
    if done.returncode:  # whether tests pass is for the suite "unit" to say
        print(f"warning: {path.name} ended with {done.returncode}: what it reaches may be missing", flush=True)


def measure(build):
    missing = [path for path, _ in programs(build) if not path.exists()]
    if missing:
        sys.exit(f"{missing[0]} is not built: `make BUILD={build.name} SAN=coverage unit-programs` does it")
    for old in build.rglob("*.gcda"):
        old.unlink()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        list(pool.map(run, programs(build)))


def collect(build, html):
    """Per file: the lines and branches that count, as gcovr gives them."""
    report = build / "coverage.json"
    command = ["gcovr", "--root", ROOT, "--object-directory", build, "--filter", "src/", "--json", report,
               "--exclude-throw-branches", "--exclude-unreachable-branches", "--exclude-branches-by-pattern", MACROS, "-j", str(os.cpu_count() or 2)]
    if html:
        (build / "coverage").mkdir(exist_ok=True)
        command += ["--html-details", build / "coverage" / "index.html", "--html-title", "Drover: what the C tests reach"]
    subprocess.run([str(part) for part in [*command, build / "obj"]], cwd=ROOT, check=True)
    return {each["file"]: each["lines"] for each in json.loads(report.read_text())["files"]}


def counted(lines):
    """(lines, covered lines, branches, covered branches)"""
    sums = [0, 0, 0, 0]
    for line in lines:
        if line.get("gcovr/noncode"):
            continue
        sums[0] += 1
        sums[1] += line["count"] > 0
        sums[2] += len(line["branches"])
        sums[3] += sum(branch["count"] > 0 for branch in line["branches"])
    return sums


def table(files):
    rooms = collections.defaultdict(lambda: [0, 0, 0, 0])
    for name, lines in files.items():
        room = name.split("/")[1]
        for key in (room, "all"):
            rooms[key] = [a + b for a, b in zip(rooms[key], counted(lines))]
    share = lambda part, whole: f"{100 * part / whole:6.1f} %" if whole else f"{'–':>8}"
    print(f"{'room':12}{'lines':>8}{'covered':>10}{'branches':>10}{'covered':>10}")
    for room, (lines, lines_hit, branches, branches_hit) in sorted(rooms.items(), key=lambda each: (each[0] == "all", each)):
        print(f"{room:12}{lines:8}{share(lines_hit, lines):>10}{branches:10}{share(branches_hit, branches):>10}")


def check(files):
    """Whether every branch of WHOLE is taken; names those that are not."""
    good = True
    for name in WHOLE:
        lines = files.get(name, [])
        missed = [line["line_number"] for line in lines if not line.get("gcovr/noncode")
                  and (line["count"] == 0 or any(branch["count"] == 0 for branch in line["branches"]))]
        if lines and not missed:
            print(f"ok {name}: all of {counted(lines)[2]} branches")
            continue
        good = False
        print(f"FAILED {name}: {'no test reaches it' if not lines else 'a way not taken at each of these lines:'}")
        source = (ROOT / name).read_text(encoding="utf-8").splitlines()
        for number in missed:
            line = next(line for line in lines if line["line_number"] == number)
            taken = "".join("+" if branch["count"] else "-" for branch in line["branches"])
            print(f"    {name}:{number}: [{taken or 'never run'}] {source[number - 1].strip()}")
    if not good:
        print("Write a test (tests/unit, tests/contract) that takes them; what cannot happen is marked in the source with "
              "`// GCOV_EXCL_BR_LINE: why`.")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-cov", help="made with SAN=coverage")
    parser.add_argument("--no-html", action="store_true", help="leave out the report, which takes a while")
    parser.add_argument("--no-run", action="store_true", help="what the last run reached")
    options = parser.parse_args()
    build = options.build.resolve()
    if not options.no_run:
        measure(build)
    files = collect(build, not options.no_html)
    table(files)
    if not options.no_html:
        print(f"report: {(build / 'coverage' / 'index.html').relative_to(ROOT)}")
    return 0 if check(files) else 1


if __name__ == "__main__":
    sys.exit(main())
