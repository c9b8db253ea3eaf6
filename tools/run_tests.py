#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the test suites one after the other (`make test`, `make test SUITES="unit api"`).

A failing suite does not stop the others. What fails is tried a second time, by itself; the column
"again" counts what passed only then, and the lines before the table name it. Closes with a table of
suites and, alone on the last line, the counts: "N passed, N failed". Exits with 1 when anything
failed. BUDGET says how long each suite may take; more gives a warning, never a failure.

Each suite's whole output is kept in build/test-logs/SUITE.log. Settings from the environment:
  DROVER_CACHE_HOME   where the tests' Python environment and the agents' environments are kept
                      (default ~/.cache/drover)
  DROVER_TEST_SEED    seed of everything drawn at random (default 20261123)
"""
import collections
import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("DROVER_CACHE_HOME", pathlib.Path.home() / ".cache" / "drover"))
LOGS = ROOT / "build" / "test-logs"
REQUIREMENTS = ROOT / "tests" / "requirements.txt"
SEED = os.environ.get("DROVER_TEST_SEED", "20261123")
LONG = os.environ.get("DROVER_LONG") == "1"  # `make test-long`
JOBS = str(os.cpu_count() or 2)
NO_TESTS = 5  # pytest's exit status when -m leaves none of a share
AGAIN_MOST = 5  # more failures than this are not tried a second time
TAIL = 60  # lines of a failed suite's output that are shown

BUILDS = {"build": "", "build-asan": "address", "build-tsan": "thread", "build-fuzz": "fuzz", "build-cov": "coverage"}
COMPILERS = {"build-fuzz": "clang"}  # libFuzzer is clang's
BUDGET_MINUTES = 60  # for everything, on a cold machine of two cores: nothing built, no cache
BUDGET = {  # seconds there, what has to be built included
    "lint": 300, "unit": 150, "unit-asan": 240, "unit-tsan": 240, "runner": 220, "runner-asan": 60, "coverage": 180, "json": 60, "fuzz": 240,
    "api": 240, "api-asan": 240, "api-tsan": 120, "cli": 120, "conformance": 90, "fault": 660, "demo": 60,
}
SIMULATION_SEEDS = 10000
SIMULATION_PARTS = 8  # processes that share the seeds
SLOW = ("test_filter_equal", "test_store_sqlite", "test_store", "test_agent_life", "test_net_multipart")
FUZZ_SECONDS = 20  # for each target
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1",
}


class Counts:
    """`again`: those among the passed that needed a second try; each is named as it happens."""

    def __init__(self, passed=0, failed=0, skipped=0, again=0):
        self.passed, self.failed, self.skipped, self.again = passed, failed, skipped, again

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.again += other.again
        return self

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


class Suite:
    """One run: says what it does as it goes, and keeps all output in a file."""

    def __init__(self, name):
        self.name = name
        self.log_path = LOGS / f"{name}.log"
        self.log = self.log_path.open("wb")
        self.lock = threading.Lock()
        self.times = []  # (seconds, name) of what it ran side by side

    def run(self, command, timeout, env=None):
        """Runs a command with its output in the log. Returns (exit status, its output)."""
        start = self.log.tell()
        self.log.write(f"$ {' '.join(map(str, command))}\n".encode())
        self.log.flush()
        status = run_logged(command, timeout, env, self.log)
        self.log.seek(0, os.SEEK_END)
        return status, self.log_path.read_bytes()[start:].decode(errors="replace")

    def run_beside(self, command, timeout, env=None):
        """As run, from several threads at a time: the log gets the output in one piece, at the end."""
        with tempfile.TemporaryFile() as output:
            status = run_logged(command, timeout, env, output)
            output.seek(0)
            text = output.read()
        with self.lock:
            settings = "".join(f"{name}={value} " for name, value in (env or {}).items())
            self.log.write(f"$ {settings}{' '.join(map(str, command))}\n".encode() + text)
            self.log.flush()
        return status, text.decode(errors="replace")

    def build(self, build, *targets):
        sanitizer = BUILDS[build]
        command = ["make", "-s", f"-j{JOBS}", f"BUILD={build}"] + ([f"SAN={sanitizer}"] if sanitizer else [])
        command += [f"CC={COMPILERS[build]}"] if build in COMPILERS else []
        status, _ = self.run(command + list(targets), 1200)
        return status == 0


RUNNING = set()  # processes that are to end with us
RUNNING_LOCK = threading.Lock()


def run_logged(command, timeout, env, output):
    process = subprocess.Popen(
        [str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output,
        stderr=subprocess.STDOUT, env=dict(os.environ, **SANITIZER_OPTIONS, **(env or {})), start_new_session=True)
    with RUNNING_LOCK:
        RUNNING.add(process)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        end_process(process)
        output.write(f"\nended: it took more than {timeout} s\n".encode())
        return 124
    except BaseException:
        end_process(process)
        raise
    finally:
        with RUNNING_LOCK:
            RUNNING.discard(process)


def end_process(process):
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)


class Program(collections.namedtuple("Program", "name env label")):
    """A C test program, and what it is told through the environment."""


def cmocka_programs(build):
    """The longest first, so that no core is idle at the end."""
    programs = []
    if build != "build-tsan":  # the simulation has one thread: nothing for TSan to see
        share = -(-SIMULATION_SEEDS // SIMULATION_PARTS)
        for first in range(0, SIMULATION_SEEDS, share):
            seeds = min(share, SIMULATION_SEEDS - first)
            for name in ("test_leases", "test_life"):
                programs.append(Program(name, {"DROVER_FIRST": str(first), "DROVER_SEEDS": str(seeds)},
                                        f"{name}, seeds from {first}"))
        programs += [Program(name, {}, name) for name in ("test_dispatch", "test_handout")]
    names = sorted(source.stem for folder in ("unit", "contract") for source in (ROOT / "tests" / folder).glob("test_*.c"))
    return programs + [Program(name, {}, name) for name in sorted(names, key=lambda name: (name not in SLOW, name))]


def cmocka(suite, build):
    """Every C test program of a build; a program that dies counts as one failure more. They run on all
    cores; what fails there is tried a second time alone."""
    if not suite.build(build, "unit-programs"):
        return Counts(failed=1)
    counts = Counts()
    programs = cmocka_programs(build)
    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        firsts = list(pool.map(lambda program: cmocka_program(suite, build, program), programs))
    for program, first in zip(programs, firsts):
        if first.failed:
            second = cmocka_program(suite, build, program)
            say(f"    {program.label}: {first}; at the second try {second}")
            if not second.failed:
                second.again = first.failed
            first = second
        counts.add(first)
    return counts


def cmocka_program(suite, build, program):
    start = time.monotonic()
    status, output = suite.run_beside([ROOT / build / "tests" / program.name], 900,
                                      {"CMOCKA_MESSAGE_OUTPUT": "TAP", **program.env})
    suite.times.append((time.monotonic() - start, program.label))
    skipped = len(re.findall(r"^(?:not )?ok .*# SKIP", output, re.M))
    ok, not_ok = (len(re.findall(rf"^{word} (?!.*# SKIP)", output, re.M)) for word in ("ok", "not ok"))
    one = Counts(ok, not_ok, skipped)
    planned = sum(map(int, re.findall(r"^1\.\.(\d+)", output, re.M)))
    if planned != ok + not_ok + skipped or (status != 0 and not_ok == 0):
        one.failed += 1
        say(f"    {program.label}: ended with status {status} after {one} of {planned} tests")
    return one


def shares(folder, count):
    """The folder's test files in `count` shares of about as many tests each."""
    tests = lambda path: len(re.findall(r"^(?:async )?def test_", path.read_text(encoding="utf-8"), re.M))
    parts = [[0, []] for _ in range(count)]
    for path in sorted((ROOT / folder).glob("test_*.py"), key=lambda path: (-tests(path), path)):
        least = min(parts, key=lambda part: part[0])
        least[0] += tests(path)
        least[1].append(str(path.relative_to(ROOT)))
    return [sorted(files) for _, files in parts if files]


def pytest(suite, folder, timeout, build="build", options=(), processes=1):
    """With several processes each runs a share of the files, beside a server of its own."""
    if not suite.build(build, "all"):
        return Counts(failed=1)
    environment = {"DROVER_BUILD": str(ROOT / build), "DROVER_CACHE_HOME": str(CACHE), "DROVER_TEST_SEED": SEED,
                   "PYTHONHASHSEED": "0", "DROVER_RUNNER": str(ROOT / build / "runner")}
    parts = [[folder]] if processes == 1 else shares(folder, processes)
    reports = [LOGS / f"{suite.name}{number or ''}.xml" for number in range(len(parts))]

    def run_part(part, report):
        report.unlink(missing_ok=True)
        run = suite.run if len(parts) == 1 else suite.run_beside
        status, _ = run([venv_python(), "-m", "pytest", "-c", "tests/pytest.ini", *part, f"--junitxml={report}",
                         "-p", "no:cacheprovider", *options], timeout, environment)
        counts = junit(report)
        if status not in (0, NO_TESTS) and counts.failed == 0:
            counts.failed = 1
        return counts

    counts = Counts()
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        for part in pool.map(run_part, parts, reports):
            counts.add(part)
    names = [name for report in reports for name in failed_tests(report)]
    if names and len(names) == counts.failed <= AGAIN_MOST:
        counts = second_try(suite, counts, names, timeout, environment)
    if counts.passed + counts.failed == 0:
        counts.failed = 1
        say("    no test ran")
    return counts


def failed_tests(report):
    """The pytest names of the failed tests of a report."""
    names = []
    for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase") if report.exists() else ():
        if case.find("failure") is not None or case.find("error") is not None:
            path = case.get("classname").replace(".", "/") + ".py"
            names.append(f"{path if (ROOT / path).exists() else 'tests/' + path}::{case.get('name')}")
    return names


def second_try(suite, counts, names, timeout, environment):
    """A busy machine can upset a test that waits for processes; a defect fails twice."""
    report = LOGS / f"{suite.name}-again.xml"
    report.unlink(missing_ok=True)
    suite.run([venv_python(), "-m", "pytest", "-c", "tests/pytest.ini", *names, f"--junitxml={report}",
               "-p", "no:cacheprovider"], timeout, environment)
    still = set(failed_tests(report)) if junit(report).passed else set(names)
    for name in names:
        say(f"    {name}: failed, at the second try {'failed' if name in still else 'passed'}")
    good = len(names) - len(still)
    return Counts(counts.passed + good, counts.failed - good, counts.skipped, good)


def junit(report):
    try:
        suites = xml.etree.ElementTree.parse(report).getroot().iter("testsuite")
    except (OSError, xml.etree.ElementTree.ParseError):
        return Counts(failed=1)
    counts = Counts()
    for suite in suites:
        number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        bad = number["failures"] + number["errors"]
        counts.add(Counts(max(number["tests"] - bad - number["skipped"], 0), bad, number["skipped"]))
    return counts


def one(good):
    return Counts(passed=1) if good else Counts(failed=1)


def run_lint(suite):
    # Two programs first: they say what docs/configuration.md has to hold.
    suite.build("build", "all")
    status, output = suite.run([ROOT / "tools" / "lint"], 1200)
    counts = Counts(len(re.findall(r"^ok ", output, re.M)), len(re.findall(r"^FAILED ", output, re.M)))
    return counts if counts.passed + counts.failed and (status == 0) == (counts.failed == 0) else Counts(failed=1)


def run_json(suite):
    if not suite.build("build-asan", "unit-programs"):
        return Counts(failed=1)
    return one(suite.run([sys.executable, "tests/fuzz/json_differential.py", ROOT / "build-asan" / "tests" / "json_check",
                          "--seconds", "20", "--seed", SEED], 300)[0] == 0)


def run_bench(suite):
    if not suite.build("build", "bench-programs"):
        return Counts(failed=1)
    return pytest(suite, "tests/bench", 600)


def run_fuzz(suite):
    """Each target: its corpus, then some seconds of new inputs. What fails is kept beside the log."""
    if not suite.build("build-fuzz", "fuzz-programs"):
        return Counts(failed=1)
    status, output = suite.run([sys.executable, "tests/fuzz/run.py", "--build", "build-fuzz", "--seconds", str(FUZZ_SECONDS),
                                "--failures", LOGS / "fuzz", "--seed", SEED], 3600)
    counts = Counts(len(re.findall(r"^ok ", output, re.M)), len(re.findall(r"^FAILED ", output, re.M)))
    return counts if counts.passed and (status == 0) == (counts.failed == 0) else Counts(failed=1)


def run_coverage(suite):
    if not suite.build("build-cov", "unit-programs"):
        return Counts(failed=1)
    status, output = suite.run([sys.executable, "tools/coverage.py", "--no-html"], 1200)
    counts = Counts(len(re.findall(r"^ok ", output, re.M)), len(re.findall(r"^FAILED ", output, re.M)))
    return counts if counts.passed and (status == 0) == (counts.failed == 0) else Counts(failed=1)


def run_demo(suite):
    if not suite.build("build", "all"):
        return Counts(failed=1)
    return one(suite.run([sys.executable, "tools/demo.py", "--once"], 900)[0] == 0)


SUITES = {
    "lint": ("style, include rule, static analysis", run_lint),
    "unit": ("units and contracts in C", lambda s: cmocka(s, "build")),
    "unit-asan": ("the same under ASan and UBSan", lambda s: cmocka(s, "build-asan")),
    "unit-tsan": ("the same under TSan", lambda s: cmocka(s, "build-tsan")),
    "runner": ("the runners alone", lambda s: pytest(s, "tests/runner", 900, processes=2)),
    "runner-asan": ("the native runner under ASan and UBSan",
                    lambda s: pytest(s, "tests/runner/test_native.py", 600, "build-asan")),
    "coverage": ("every branch of states, leases and fences", run_coverage),
    "json": ("our JSON reader against Python's", run_json),
    "fuzz": ("made-up inputs from outside, under ASan and UBSan", run_fuzz),
    "api": ("the API through dtlpy", lambda s: pytest(s, "tests/api", 1200, processes=2)),
    "api-asan": ("the same, server and agents under ASan and UBSan",
                 lambda s: pytest(s, "tests/api", 1500, "build-asan", processes=2)),
    "api-tsan": ("a shorter run, server and agents under TSan",
                 lambda s: pytest(s, "tests/api", 1200, "build-tsan", ["-m", "core"])),
    "cli": ("the command line, in pipes and on terminals", lambda s: pytest(s, "tests/cli", 1200)),
    "conformance": ("the API against its own OpenAPI document", lambda s: pytest(s, "tests/conformance", 900)),
    "fault": ("kill -9, frozen agents; disk, memory, kernel and clock that fail",
              lambda s: pytest(s, "tests/fault", 7 * 86400 if LONG else 1800, options=["-s"], processes=2)),
    "bench": ("every measurement of bench/, as small as can be", run_bench),
    "demo": ("`make demo`, once", run_demo),
}


def say(text):
    print(text, flush=True)


def venv_folder():
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    return CACHE / f"test-venv-{digest}"


def venv_python():
    return venv_folder() / "bin" / "python"


def make_venv():
    """The tests' Python environment: made once for each content of tests/requirements.txt."""
    folder = venv_folder()
    marker = folder / ".complete"
    if marker.exists():
        return
    say(f"making the tests' Python environment in {folder} (once; a few minutes)")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(venv_python()), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r",
                    str(REQUIREMENTS)], check=True)
    marker.touch()


def budget_of(name):
    return BUDGET.get(name, 60)


def run_suite(name):
    start = time.monotonic()
    say(f"==> {name}: {SUITES[name][0]}")
    suite = Suite(name)
    try:
        counts = SUITES[name][1](suite)
    except OSError as error:
        say(f"    {error}")
        counts = Counts(failed=1)
    seconds = time.monotonic() - start
    say(f"    {counts} in {seconds:.0f} s")
    if suite.times:
        say("    slowest: " + ", ".join(f"{what} {took:.0f} s" for took, what in sorted(suite.times, reverse=True)[:3]))
    suite.log.close()
    if counts.failed:
        lines = suite.log_path.read_text(errors="replace").splitlines()
        for line in lines[-TAIL:]:
            say(f"    | {line}")
        say(f"    the whole output: {suite.log_path.relative_to(ROOT)}")
    return counts, seconds


def main():
    names = sys.argv[1:] or list(SUITES)
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        say(f"there is no suite '{unknown[0]}'; there are: {', '.join(SUITES)}")
        return 2
    os.chdir(ROOT)
    LOGS.mkdir(parents=True, exist_ok=True)
    make_venv()
    results = {name: run_suite(name) for name in names}
    total = Counts()
    say(f"\n{'suite':14}{'passed':>8}{'failed':>8}{'skipped':>8}{'again':>8}{'seconds':>9}{'budget':>8}")
    for name, (counts, seconds) in results.items():
        over = "  over its budget" if seconds > budget_of(name) else ""
        say(f"{name:14}{counts.passed:8}{counts.failed:8}{counts.skipped:8}{counts.again:8}{seconds:9.0f}"
            f"{budget_of(name):8}{over}")
        total.add(counts)
    spent, allowed = sum(seconds for _, seconds in results.values()), sum(map(budget_of, results))
    say(f"{'all':14}{total.passed:8}{total.failed:8}{total.skipped:8}{total.again:8}{spent:9.0f}{allowed:8}")
    if spent > BUDGET_MINUTES * 60:
        say(f"warning: it took {spent / 60:.0f} minutes; {BUDGET_MINUTES} are the budget")
    say("")
    say(str(total))
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
