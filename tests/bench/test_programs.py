# SPDX-License-Identifier: Apache-2.0
"""The programs of bench/ make the folder that their argument names: a slip must not make one called --help."""
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench")]

from support.programs import program  # noqa: E402

NAMES = sorted(path.stem for path in (ROOT / "bench").glob("*.c") if "int main(" in path.read_text())


def run(name, *arguments, where):
    return subprocess.run([program(name), *arguments], cwd=where, capture_output=True, text=True, timeout=60, check=False)


def test_there_are_programs():
    assert {"log_bench", "store_bench", "sqlite_floor", "http_load"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_and_unknown_options(name, tmp_path):
    done = run(name, "--help", where=tmp_path)
    assert done.returncode == 0 and f"usage: {name}" in done.stdout and not done.stderr
    done = run(name, "--fast", where=tmp_path)
    assert done.returncode == 2 and "--fast" in done.stderr and f"usage: {name}" in done.stderr
    assert not list(tmp_path.iterdir())
