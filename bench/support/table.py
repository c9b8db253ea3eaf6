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
                slower = target.slower(limit_of(result, target))
                one.update(must=target.must, goal=target.goal, most=target.most,
                           verdict=target.verdict(one["median"], slower))
            one["ratios"] = ratios(result, by_name, workload, figure, one["median"])
            found.append(one)
    return found


def limit_of(result, target):
    """This machine's own limit beside a target, measured in the same run; None when it was not."""
    values = result["figures"].get(target.limit[0], {}).get(target.limit[1]) if target.limit else None
    return statistics.median(values) if values else None


def ratios(result, by_name, workload, figure, median):
    """To the best peer, to the one that stands apart, and to each limit: [(what, this / that)]."""
    peers, found = {}, []
    for own, other, other_figure in workload.beside:
        values = result["figures"].get(other, {}).get(other_figure)
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
