# SPDX-License-Identifier: Apache-2.0
"""Every workload of bench/ runs, as small as can be, and gives the figures that targets and ratios are about.
The peers are left out: they need brokers. What the figures are is nobody's business here."""
import http.server
import json
import math
import pathlib
import re
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench")]

import report  # noqa: E402
from support import facts, picture, programs, sizes, table  # noqa: E402
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
            assert len(value) > 1 and all(point["CPU us/execution"] > 0 for point in value.values())
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
        for target in workload.targets.values():
            assert not target.limit or target.limit[1] in MEASURED[target.limit[0]]
    for axis in {figure for found in MEASURED.values() for figure in found if figure.startswith("curve ")}:
        assert axis[6:] in picture.AXES


def test_the_table_says_what_was_reached():
    figures = {"single": {"executions/s": [6000.0, 4000.0, 12000.0], "CPU us/execution": [301.0]},
               "rq": {"executions/s": [300.0]}, "celery": {"executions/s": [600.0]}, "store": {"executions/s, 64 in flight": [12000.0]}}
    rows = {row["figure"]: row for row in table.rows({"figures": figures}, BY_NAME) if row["workload"] == "single"}
    assert rows["executions/s"]["verdict"] == "met" and rows["executions/s"]["median"] == 6000
    assert rows["CPU us/execution"]["verdict"] == "NOT MET"
    assert rows["executions/s"]["ratios"] == [("celery", 10.0), ("store", 0.5)]
    assert "10.00× celery, 0.50× store" in table.text(list(rows.values()))


def test_a_slow_machine_is_asked_for_less():
    """By as much as its own limit is below that of the machine for which the bounds were set; a fast one for the same."""
    def verdicts(rate, p50, limit, limit_ms):
        figures = {"arrays": {"executions/s": [rate]}, "idle": {"p50 ms": [p50]},
                   "sqlite": {"lives/s, groups of 100": [limit]}}
        figures["idle"]["SQLite alone beside it, p50 ms"] = [limit_ms]
        rows = table.rows({"figures": figures}, BY_NAME)
        return [row["verdict"] for row in rows if "verdict" in row]
    assert verdicts(7600.0, 1.9, 30700.0, 0.8) == ["met for its limit (2× slower)", "met for its limit (2× slower)"]
    assert verdicts(7400.0, 2.1, 30700.0, 0.8) == ["NOT MET", "NOT MET"]
    assert verdicts(14900.0, 1.1, 122800.0, 0.2) == ["NOT MET", "NOT MET"]
    assert verdicts(26000.0, 0.4, 30700.0, 0.8) == ["goal", "goal"]


def test_a_noisy_reference_lets_nothing_pass():
    """What varies by more than 3x from one moment to the next says nothing of what is compared with it."""
    def verdicts(references, ratio=2.0, p50=0.9, p99=4.0):
        figures = {"idle": {"p50 ms": [p50], "p99 ms": [p99], "p50 / SQLite alone beside it": [ratio],
                            "SQLite alone beside it, p50 ms": references}}
        return [row["verdict"] for row in table.rows({"figures": figures}, BY_NAME) if "verdict" in row]
    assert verdicts([0.7, 0.8, 0.9]) == ["met", "met for its limit (2× slower)", "met"]
    assert verdicts([0.4, 0.8, 1.3]) == ["met", "not comparable (noisy)", "not comparable (noisy)"]
    found = table.rows({"figures": {"idle": {"p50 / SQLite alone beside it": [2.0], "SQLite alone beside it, p50 ms": [1.0, 9.0]}}},
                       BY_NAME)
    assert "0 of 1 targets are met, 0 reach their goal. Not met: 0. Not comparable: 1," in report.summary(found)


def test_what_was_measured_at_another_hour_is_not_compared():
    """Only with what was measured beside it."""
    result = {"figures": {"arrays": {"executions/s": [7600.0]}, "sqlite": {"lives/s, groups of 100": [30700.0]},
                          "celery": {"executions/s": [760.0]}}, "machine": {}}

    def row():
        one = next(row for row in table.rows(result, BY_NAME) if row["workload"] == "arrays")
        return one["verdict"], dict(one["ratios"])
    assert row() == ("met for its limit (2× slower)", {"celery": 10.0, "sqlite": pytest.approx(0.25, rel=0.02)})
    result["machine"]["measured again"] = "depth, arrays on 2026-11-26T07:32:32+00:00; idle on 2026-11-26T08:10:32+00:00"
    assert row() == ("NOT MET", {})
    result["beside"] = {"arrays": {"sqlite": {"lives/s, groups of 100": [20000.0]}}}
    assert row() == ("met for its limit (3.1× slower)", {"sqlite": 0.38})


def test_parts_are_compared_with_like():
    """Of the table of where the time goes: what was not measured belongs to the rest, and no rest is below nothing."""
    result = {"figures": {"single": {"CPU us/execution": [100.0]}, "runner": {"CPU us/call, 10 at a time": [20.0]},
                          "store": {"CPU us/execution, 10 in flight": [90.0]}}}
    assert "| the rest: HTTP, the store, API, dispatch, the agent and its link | 80.00 | 80% |" in report.where_time_goes(result)
    result["figures"]["store"]["CPU us/execution, 64 in flight"] = [90.0]
    assert report.where_time_goes(result) == ""


def test_the_page_is_written_from_a_result(tmp_path):
    """With its pictures, with what failed, and without what was not measured."""
    result = {"command": "python3 bench/run.py --tiny", "problems": [],
              "machine": {**facts.machine(tmp_path), "cores": 2, "load before": 16.08, "took, minutes": 49.599999999999994},
              "sizes": json.loads(json.dumps(vars(sizes.TINY))),
              "figures": {"single": {"executions/s": [6000.0], "CPU us/execution": [200.0]},
                          "http": {"CPU us/request, libmicrohttpd alone": [10.0]},
                          "store": {"CPU us/execution, 64 in flight": [40.0]},
                          "runner": {"CPU us/call, 10 at a time": [20.0]}},
              "curves": {"clients": [{"1": {"executions/s": 100.0, "CPU us/execution": 300.0},
                                      "64": {"executions/s": 6000.0, "CPU us/execution": 200.0}}]},
              "failed": {"rq": ["it did not start"]}}
    result["figures"]["clients"] = {"last / first, CPU us/execution": [0.66]}
    page = report.page(result, tmp_path / "pictures", "pictures")
    assert "python3 bench/run.py single" in page and "| executions/s | 6,000 |" in page
    assert "failed: it did not start" in page and "bench/run.py history" not in page
    assert "API, dispatch, the agent and its link | 130.0 | 65% |" in page
    assert "took, minutes: 49.6\n" in page and "load before: 16.08 (more than the cores" in page
    for name in re.findall(r"pictures/([\w-]+\.svg)", page):
        xml.etree.ElementTree.parse(tmp_path / "pictures" / name)
    assert len(list((tmp_path / "pictures").iterdir())) == 2


def test_the_load_generator_counts_what_is_wrong_and_charges_stalls():
    """Against a server that answers the first request late: the open loop's later requests were due meanwhile."""
    class Late(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize, disable_nagle_algorithm = -1, True
        first = True

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            if Late.first:
                Late.first = False
                time.sleep(0.45)
            body = b'{"status":"success"}'
            self.send_response(201)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        found = programs.http_load(port, "/", "{}", connections=1, seconds=0.6, rate=100, expect='"success"')
        assert found["requests"] == 61 and found["p50"] > 20 and found["max"] >= 440
        closed = programs.http_load(port, "/", "{}", connections=1, count=10)
        assert closed["requests"] == 10
        with pytest.raises(programs.Failed, match="10 of 10 requests failed: a wrong status: HTTP/1.1 201"):
            programs.http_load(port, "/", "{}", connections=1, count=10, status=200)
        with pytest.raises(programs.Failed, match="lacks what was expected"):
            programs.http_load(port, "/", "{}", connections=1, count=10, expect="failure")
        server.shutdown()


def test_the_machine_is_described(tmp_path):
    found = facts.machine(tmp_path)
    assert found["cores"] >= 1 and re.search(r"\w+ on ", found["disk"])


def test_cpu_is_told_by_thread(tmp_path):
    for kind, names in (("arrays", ("accepting", "draining")), ("single", ("single",)), ("idle", ("one after",))):
        done = subprocess.run([sys.executable, str(ROOT / "bench" / "breakdown.py"), kind, "--seconds", "0.3", "--folder", tmp_path],
                              capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stdout for name in (*names, "drover: store-writer"))
        assert kind == "arrays" or ("drover-agent" in done.stdout and "python" in done.stdout)


def test_other_work_is_seen(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as spinning:
        assert 0.5 / facts.machine(tmp_path)["cores"] < facts.busy(1) <= 1
        spinning.kill()


def test_workloads_are_measured_anew_into_a_result(tmp_path):
    """What else the result holds stays as it is; the limits of their bounds are measured with them."""
    path = tmp_path / "result.json"
    kept = {"command": "made up", "machine": {**facts.machine(tmp_path), "load before": 0}, "problems": [],
            "sizes": json.loads(json.dumps(vars(sizes.TINY))), "failed": {"disk": ["once"]},
            "figures": {"rq": {"executions/s": [1.0]}, "disk": {"fdatasync/s": [0.5]},
                        "sqlite": {"lives/s, groups of 100": [2.5]}}, "curves": {}}
    path.write_text(json.dumps(kept))
    done = subprocess.run([sys.executable, str(ROOT / "bench" / "run.py"), "--again", str(path), "--folder", tmp_path, "disk", "arrays"],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert found["figures"]["sqlite"] == {"lives/s, groups of 100": [2.5]}
    assert found["beside"]["arrays"]["sqlite"]["lives/s, groups of 100"][0] > 10 and "sqlite" in done.stdout
    assert found["figures"]["rq"] == {"executions/s": [1.0]} and found["figures"]["disk"]["fdatasync/s"][0] > 1
    assert not found["failed"] and "disk, arrays on" in found["machine"]["measured again"]
