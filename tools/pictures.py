#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of docs/cli.md (docs/pictures/*.svg): runs `drover` in a real tmux against a server
of its own and draws what the terminal shows as SVG text. Ids, times and durations, which differ with
each run, are replaced by fixed ones, so a picture changes only when drover does.

    tools/pictures.py            # all of them; needs tmux and the build
    tools/pictures.py exec top   # some"""
import html
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("DROVER_BUILD", ROOT / "build"))
CACHE = pathlib.Path(os.environ.get("DROVER_CACHE_HOME", pathlib.Path.home() / ".cache" / "drover"))
PICTURES = ROOT / "docs" / "pictures"
COLUMNS, ROWS = 96, 40
CELL_WIDTH, CELL_HEIGHT, EDGE = 8.4, 19, 14

COLORS = {31: "#f2777a", 32: "#8fd08f", 33: "#e8c06a", 36: "#79c7d9"}
PLAIN, DIM, BACKGROUND = "#d8dee9", "#7d8797", "#1d222b"

BROKEN = '''class ServiceRunner:
    def run(self, name: str):
        return {"text": f"Hello, {name}!"}

    def fail(self, text: str):
        raise ValueError(text)
'''

# name: what is typed, each with the text that shows that it is over.
SCENES = {
    "deploy": [("drover init hello", "Next:"), ("drover deploy hello", "Try it:")],
    "exec": [("drover exec hello run name=Ada --wait", '"Hello, Ada!"'),
             ("drover exec hello count to=3 --wait", r"^3$"),
             ("drover exec hello rum", "next:")],
    "executions": [("drover deploy shaky -q; clear", r"^\$$"),
                   ("drover exec shaky fail text='no more ink' --wait 2> /dev/null; echo $?", "^6$"),
                   ("drover executions", "run .*success"),
                   ("drover rerun --status failed --since 1h --yes", "Queued again")],
    "top": [("drover exec hello count to=40 > /dev/null; drover top", r"READY(?s:.*)hello")],
}


class Terminal:
    def __init__(self, folder, environment):
        self.socket = str(folder / "tmux.sock")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(folder),
                  "env", "-i", *(f"{name}={value}" for name, value in environment.items()), "bash", "--norc", "--noprofile")

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", self.socket, *arguments], check=True, capture_output=True, text=True).stdout

    def screen(self, *more):
        return self.tmux("capture-pane", "-p", *more)

    def type(self, text):
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def wait_for(self, pattern, since=0):
        for _ in range(600):
            shown = "\n".join(self.screen().rstrip().splitlines()[since:])
            if re.search(pattern, shown, re.M):
                time.sleep(0.3)
                return
            time.sleep(0.1)
        sys.exit(f"the terminal does not show {pattern!r}:\n{self.screen()}")

    def clear(self, running):
        if running:
            self.tmux("send-keys", "C-c")
        self.wait_for(r"^\$\Z")
        self.type("clear")
        self.wait_for(r"\A\$\Z")

    def close(self):
        self.tmux("kill-server")


class Steady:
    """What differs with each run, replaced by what does not: ids, times of the day, durations."""

    def __init__(self):
        self.ids = {}
        self.clock = 0

    def identity(self, found):
        number = self.ids.setdefault(found[0], len(self.ids))
        return f"65f0a1b2c3d4e5f6071829{number:02x}"

    def time(self, found):
        self.clock += 1
        return f"10:24:{self.clock // 10:02}.{self.clock % 10}00"

    def __call__(self, text):
        text = re.sub(r"(?<![0-9a-f])[0-9a-f]{24}\b", self.identity, text)
        text = re.sub(r"(?<!\d)\d\d:\d\d:\d\d\.\d{3}\b", self.time, text)
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "2026-11-23T10:24:08", text)
        text = re.sub(r" +(\d+ ms|\d+\.\d s)\b", lambda found: " 400 ms".rjust(len(found[0])), text)
        text = re.sub(r"\b(now|\d+s)(?=  )", lambda found: "4s".ljust(len(found[0])), text)
        return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8080", text)


def steady(lines):
    same = Steady()
    return [same(line) for line in lines]


def spans(line):
    """(column, text, colour, bold) of each run of characters that look alike."""
    found, column, color, bold = [], 0, PLAIN, False
    for escape, text in re.findall(r"\x1b\[([0-9;]*)m|([^\x1b]+)", line):
        if text:
            found.append((column, text, color, bold))
            column += len(text)
            continue
        for code in map(int, filter(None, (escape or "0").split(";"))):
            color = PLAIN if code in (0, 39) else DIM if code == 2 else COLORS.get(code, color)
            bold = code == 1 or (bold and code != 0)
    return found


def draw(lines):
    width, height = COLUMNS * CELL_WIDTH + 2 * EDGE, len(lines) * CELL_HEIGHT + 2 * EDGE
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
           f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14">',
           f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>']
    for number, line in enumerate(lines):
        y = EDGE + (number + 0.75) * CELL_HEIGHT
        for column, text, color, bold in spans(line):
            blank = len(text) - len(text.lstrip())
            shown = text.strip()
            if shown:
                out.append(f'<text x="{EDGE + (column + blank) * CELL_WIDTH:.1f}" y="{y:.1f}" fill="{color}" '
                           f'textLength="{len(shown) * CELL_WIDTH:.1f}" xml:space="preserve"'
                           f'{" font-weight=" + chr(34) + "bold" + chr(34) if bold else ""}>{html.escape(shown)}</text>')
    return "\n".join(out + ["</svg>\n"])


def start_server(folder):
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen([BUILD / "drover", "server", "--listen", "127.0.0.1:0", "--cache", CACHE / "agents"],
                               cwd=folder, stdout=log, stderr=log)
    for _ in range(200):
        try:
            url = (folder / "drover-data" / "url").read_text().strip()
            urllib.request.urlopen(url + "/readyz", timeout=1).close()
            return process
        except OSError:
            time.sleep(0.1)
    sys.exit(f"the server does not start: {(folder / 'server.log').read_text()}")


def stop_agents(folder):
    """Agents outlive their server on purpose; those of the pictures end with it."""
    for record in (folder / "drover-data" / "run").glob("*/supervisor.json"):
        try:
            pid = json.loads(record.read_text())["pid"]
            if str(folder).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGUSR1)
        except (OSError, ValueError, KeyError):
            continue


def play(terminal, scene, running):
    terminal.clear(running)
    for command, over in scene:
        since = 0 if "clear" in command or "top" in command else len(terminal.screen().rstrip().splitlines()) - 1
        terminal.type(command)
        time.sleep(0.5)
        terminal.wait_for(over, max(since, 0))
    lines = terminal.screen("-e").rstrip().splitlines()
    while lines and re.sub(r"\x1b\[[0-9;]*m", "", lines[-1]).strip() in ("", "$"):
        lines.pop()
    return lines


def main():
    wanted = sys.argv[1:] or list(SCENES)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="drover-pictures-"))
    (folder / "shaky").mkdir()
    (folder / "shaky" / "main.py").write_text(BROKEN)
    server = start_server(folder)
    environment = {"HOME": str(folder), "PATH": f"{BUILD}:/usr/bin:/bin", "PS1": "$ ", "LANG": "C.UTF-8", "TERM": "tmux-256color"}
    terminal = Terminal(folder, environment)
    try:
        PICTURES.mkdir(exist_ok=True)
        for name, scene in SCENES.items():  # all are played, one builds on the other
            lines = play(terminal, scene, running=name != next(iter(SCENES)))
            if name in wanted:
                (PICTURES / f"{name}.svg").write_text(draw(steady(lines)))
                print(f"docs/pictures/{name}.svg")
    finally:
        terminal.close()
        server.terminate()
        server.wait(30)
        stop_agents(folder)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
