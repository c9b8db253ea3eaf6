# SPDX-License-Identifier: Apache-2.0
"""Growth curves as small SVG pictures: a line for the median of the runs, a band from the smallest to the
largest. Written by hand, so that a picture is a few kilobytes of text and is the same for the same figures."""
import math
import statistics

AXES = {"clients": "clients, one connection each", "services": "services that exist", "depth": "executions that wait",
        "agents": "agents of the service"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 70, 20, 40, 50
STYLE = ("text{font:13px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#ddd}.line{fill:none;stroke:#1f6fb2;"
         "stroke-width:2}.band{fill:#1f6fb2;opacity:.15}.dot{fill:#1f6fb2}")


def points(curves, figure):
    """[(x, median, smallest, largest)] of several runs of a curve; keys may be texts (from JSON)."""
    found = {}
    for curve in curves:
        for x, values in curve.items():
            found.setdefault(float(x), []).append(values[figure])
    return [(x, statistics.median(values), min(values), max(values)) for x, values in sorted(found.items())]


def round_up(value):
    """The next number of the form 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def place(x, xs):
    """Where x stands: evenly by logarithm; a 0 before all others."""
    low, high = math.log(max(min(one for one in xs if one > 0), 1e-9)), math.log(max(xs))
    room = 1 / len(xs) if 0 in xs else 0  # the part of the axis that leads from 0 to the first
    if x == 0:
        return 0.0
    return room + (1 - room) * ((math.log(x) - low) / (high - low) if high > low else 1.0)


def short(value):
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def curve(title, label, data):
    """One picture of [(x, median, smallest, largest)]; the y axis starts at 0."""
    xs, top = [one[0] for one in data], round_up(max(one[3] for one in data))

    def at(x, y):
        right, up = place(x, xs) * (WIDTH - LEFT - RIGHT), y / top * (HEIGHT - TOP - BOTTOM)
        return f"{LEFT + right:.1f}", f"{HEIGHT - BOTTOM - up:.1f}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
             f"<style>{STYLE}</style>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
             f'<text class="title" x="{LEFT}" y="22">{title}</text>']
    for step in range(6):
        value = top * step / 5
        y = at(xs[0], value)[1]
        parts += [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>',
                  f'<text x="{LEFT - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{short(round(value, 3))}</text>']
    band = [at(x, high) for x, _, _, high in data] + [at(x, low) for x, _, low, _ in reversed(data)]
    parts += [f'<polygon class="band" points="{" ".join(",".join(one) for one in band)}"/>',
              f'<polyline class="line" points="{" ".join(",".join(at(x, y)) for x, y, _, _ in data)}"/>']
    for x, y, _, _ in data:
        left, up = at(x, y)
        parts += [f'<circle class="dot" cx="{left}" cy="{up}" r="3"/>',
                  f'<text x="{left}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{short(x)}</text>']
    parts += [f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{label}</text>', "</svg>"]
    return "\n".join(parts) + "\n"
