# SPDX-License-Identifier: Apache-2.0
"""Every workload of bench/ runs, as small as can be, and gives the figures that targets and ratios are about.
The peers are left out: they need brokers. What the figures are is nobody's business here."""
import math
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench")]

from support import facts, picture, sizes, table  # noqa: E402
from support.platform import Context  # noqa: E402
from workloads import BY_NAME, WORKLOADS  # noqa: E402

MEASURED = {}


@pytest.mark.parametrize("name", [one.name for one in WORKLOADS if one.kind != "peer"])
def test_workload(name, tmp_path_factory):
    context = Context(tmp_path_factory.mktemp("b"), sizes.TINY, lambda text: None)
    found = BY_NAME[name].measure(context)
    assert not context.problems
    assert found
    for figure, value in found.items():
        if figure.startswith("curve "):
            assert len(value) > 1 and all(point["CPU us/execution"] >= 0 for point in value.values())
        else:
            for one in value if isinstance(value, list) else [value]:
                assert math.isfinite(one), figure
    assert set(BY_NAME[name].targets) <= set(found)
    MEASURED[name] = found


def test_ratios_are_of_figures_that_exist():
    """A workload's own side of a ratio, and the limit's side."""
    if len(MEASURED) < 2:
        pytest.skip("alone it has nothing to look at")
    for workload in WORKLOADS:
        for own, other, figure in workload.beside:
            assert workload.name not in MEASURED or own in MEASURED[workload.name], own
            assert other not in MEASURED or figure in MEASURED[other], figure
    for axis in {figure for found in MEASURED.values() for figure in found if figure.startswith("curve ")}:
        assert axis[6:] in picture.AXES


def test_the_table_says_what_was_reached():
    figures = {"single": {"executions/s": [6000.0, 4000.0, 12000.0], "CPU us/execution": [301.0]},
               "rq": {"executions/s": [300.0]}, "celery": {"executions/s": [600.0]}, "store": {"executions/s, 10 in flight": [12000.0]}}
    rows = {row["figure"]: row for row in table.rows({"figures": figures}, BY_NAME) if row["workload"] == "single"}
    assert rows["executions/s"]["verdict"] == "met" and rows["executions/s"]["median"] == 6000
    assert rows["CPU us/execution"]["verdict"] == "NOT MET"
    assert rows["executions/s"]["ratios"] == [("celery", 10.0), ("store", 0.5)]
    assert "10.00× celery, 0.50× store" in table.text(list(rows.values()))


def test_the_machine_is_described(tmp_path):
    found = facts.machine(tmp_path)
    assert found["cores"] >= 1 and re.search(r"\w+ on ", found["disk"])
