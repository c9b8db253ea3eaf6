#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the include rule: which room of src/ may include which. Exits with 1 and a line for each
include that goes against the table, and for cycles between the headers of one room."""
import pathlib
import re
import sys

ALLOWED = {
    "base": set(),
    "net": {"base"},
    "model": {"base"},
    "store": {"base", "net", "model"},
    "queue": {"base", "net", "model"},
    "driver": {"base", "net", "model"},
    "operation": {"base", "net", "model", "store", "queue", "driver"},
    "control": {"base", "net", "model", "store", "queue", "driver", "operation"},
    "api": {"base", "net", "model", "store", "queue", "driver", "operation"},
    "agent": {"base", "net", "model", "queue"},
    "runner": {"base", "net", "drover"},  # drover: include/, the public header
    "cli": {"base", "net", "model"},
    "main": {"base", "net", "model", "store", "queue", "driver", "operation", "control", "api", "agent", "cli"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def includes(path):
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def wrong_arrows(src):
    for path in sorted(src.rglob("*.[ch]")):
        room = path.relative_to(src).parts[0]
        if room not in ALLOWED:
            yield f"{path}: the room '{room}' is not in the table of {__file__}"
            continue
        for name in includes(path):
            target = name.split("/")[0]
            if "/" not in name and (path.parent / name).exists():
                continue
            if target != room and target not in ALLOWED[room]:
                yield f"{path}: '{room}' may not include \"{name}\""
            elif not (src / name).exists() and not (src.parent / "include" / name).exists():
                yield f"{path}: \"{name}\" does not exist under {src}"


def cycles(src):
    graph = {
        str(path.relative_to(src)): [name for name in includes(path) if (src / name).exists()]
        for path in src.rglob("*.h")
    }
    done, trail = set(), []

    def visit(header):
        if header in trail:
            yield " -> ".join(trail[trail.index(header):] + [header])
            return
        if header in done:
            return
        trail.append(header)
        for target in graph.get(header, []):
            yield from visit(target)
        trail.pop()
        done.add(header)

    for header in sorted(graph):
        for cycle in visit(header):
            yield f"headers include each other: {cycle}"


def main():
    src = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "src")
    problems = list(wrong_arrows(src)) + list(cycles(src))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
