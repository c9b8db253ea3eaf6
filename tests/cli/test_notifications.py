# SPDX-License-Identifier: Apache-2.0
"""drover notifications: listed, followed, shown with the exact error, read."""
import json

import pytest

from conftest import told

ERROR = 'Traceback (most recent call last):\n  File "main.py", line 3, in __init__\nValueError: \x1b[31mno'


@pytest.fixture(autouse=True)
def read_before(cli):
    cli.good("notifications", "read", "--all")


def test_listed_and_read(cli, api, service, unique):
    first, second = told(api, service, unique("A")), told(api, service, unique("B"))
    lines = cli.good("notifications", "--unread").lines
    assert lines[0].split() == ["ID", "LAST", "LEVEL", "STATE", "TYPE", "COUNT", "TITLE"]
    assert [line.split()[0] for line in lines[1:]] == [second, first]
    assert all("unread" in line and f"{service} says: " in line for line in lines[1:])
    assert "1 marked" in cli.good("notifications", "read", first).err
    assert cli.good("notifications", "list", "-u", "-o", "name").lines == [second]
    assert first in cli.good("notifications", "-n", "-1", "-o", "name").lines
    told(api, service, unique("C"))
    assert "2 marked" in cli.good("notifications", "read", "--all").err
    nothing = cli.good("notifications", "-u")
    assert nothing.out == "" and "no notifications" in nothing.err
    assert cli.good("notifications", "-u", "--level", "error", "-o", "json").json == []


def test_shown_with_the_exact_error(cli, api, service, unique):
    kind = unique("D")
    identity = told(api, service, kind, ERROR)
    shown = cli.good("notifications", "show", identity).out
    assert f"{service} says: {kind}" in shown and '\n  File "main.py", line 3, in __init__\n' in shown
    assert "ValueError: " in shown and "\x1b" not in shown, "what is told commands no terminal"
    assert cli.good("notifications", "show", identity, "-o", "json").json["message"] == ERROR
    assert len(cli.good("notifications", "show", identity, "-o", "jsonl").lines) == 1


def test_followed(cli, api, service, unique, interrupt):
    one, two = unique("E"), unique("F")
    told(api, service, one)
    follower = cli.start("notifications", "-f", "--unread", "-o", "jsonl")
    assert json.loads(follower.stdout.readline())["type"] == one
    told(api, service, two)
    assert json.loads(follower.stdout.readline())["type"] == two
    told(api, service, two)
    assert json.loads(follower.stdout.readline())["count"] == 2
    assert interrupt(follower)[0] in (0, 130)


def test_mistakes(cli):
    assert "no notification" in cli.bad(3, "notifications", "show", "0" * 24).lower()
    assert "--all" in cli.bad(2, "notifications", "read")
    assert "--all" in cli.bad(2, "notifications", "read", "0" * 24, "--all")
    cli.bad(3, "notifications", "read", "0" * 24)
    assert "never ends" in cli.bad(2, "notifications", "-f", "-o", "json")
