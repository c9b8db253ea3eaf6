# SPDX-License-Identifier: Apache-2.0
"""From values to rows: medians, targets, ratios; as text for the terminal and as Markdown."""
import statistics


def number(value):
    if value is None:
        return ""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def middle(value):
    return statistics.median(value) if isinstance(value, list) else value


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}


def rows(result, by_name):
    """One dict for each figure of a result, in the order of the table of workloads."""
    found = []
    for name, workload in by_name.items():
        for figure, values in result["figures"].get(name, {}).items():
            one = {"workload": name, "title": workload.title, "kind": workload.kind, "figure": figure, **summary(values)}
            if target := workload.targets.get(figure):
                limit = reference(result, name, target.limit or target.over)
                slower = target.slower(statistics.median(limit)) if limit else 1.0
                one.update(must=target.must, goal=target.goal, most=target.most,
                           verdict=target.verdict(one["median"], slower, noisy(limit)))
            one["ratios"] = ratios(result, by_name, workload, figure, one["median"])
            found.append(one)
    return found


def measured_anew(result):
    """The workloads whose figures are of another hour than the rest (run.py --again)."""
    parts = filter(None, result.get("machine", {}).get("measured again", "").split("; "))
    return {name for part in parts for name in part.rpartition(" on ")[0].split(", ")}


def reference(result, name, limit):
    """The values of another workload's figure (limit: workload, figure, …) that were measured in the same minutes as
    this workload; [] when none were."""
    if not limit:
        return []
    figures = result["figures"]
    if name != limit[0] and {name, limit[0]} & measured_anew(result):
        figures = result.get("beside", {}).get(name, {})
    return figures.get(limit[0], {}).get(limit[1], [])


NOISE = 3.0  # a reference that varies by more says nothing


def noisy(values):
    return bool(values) and max(values) > NOISE * min(values)


def ratios(result, by_name, workload, figure, median):
    """To the best peer, to the one that stands apart, and to each limit: [(what, this / that)]."""
    peers, found = {}, []
    for own, other, other_figure in workload.beside:
        values = reference(result, workload.name, (other, other_figure))
        if own != figure or not values or not statistics.median(values):
            continue
        ratio = median / statistics.median(values)
        if by_name[other].kind == "peer" and not by_name[other].apart:
            peers[other] = ratio
        else:
            found.append((other, ratio))
    if peers:
        smaller = figure.startswith(("CPU", "p50", "p99"))
        best = (max if smaller else min)(peers, key=peers.get)
        found.insert(0, (best, peers[best]))
    return found


def bound(row):
    return "" if "must" not in row else f"{'≤' if row['most'] else '≥'} {number(row['must'])} / {number(row['goal'])}"


def cells(row):
    return [row["workload"], row["figure"], number(row["median"]), number(row["min"]), number(row["max"]), bound(row),
            row.get("verdict", ""), ", ".join(f"{ratio:.2f}× {what}" for what, ratio in row["ratios"])]


HEAD = ["workload", "figure", "median", "min", "max", "must / goal", "reached", "ratio to the best peer and to limits"]


def text(found):
    lines = [HEAD] + [cells(row) for row in found]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.rjust(width) if 2 <= i <= 4 else cell.ljust(width)
                               for i, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


def markdown(found, head=None, pick=None):
    head = head or HEAD
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join([" --- "] * len(head)) + "|"]
    lines += ["| " + " | ".join((pick or cells)(row)) + " |" for row in found]
    return "\n".join(lines)
