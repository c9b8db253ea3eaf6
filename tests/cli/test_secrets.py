# SPDX-License-Identifier: Apache-2.0
"""drover secrets: values come from files, pipes and the terminal, and are never shown."""
import json


def test_create_list_set_delete(cli, unique):
    name = unique("SECRET").replace("-", "_")
    (cli.folder / "value").write_text("the first value\n")
    made = cli.good("secrets", "create", name, "--file", "value", "-o", "json").json
    assert made["name"] == name and made["type"] == "key_value" and "first" not in str(made)
    assert name in cli.good("secrets", "-o", "name").lines
    assert "first" not in cli.good("secrets").out
    cli.good("secrets", "set", name, given="the second value\n")
    cli.good("secrets", "set", made["id"], "--file", "-", "--keep-agents", given="the third value")
    assert f"{name} already" in cli.bad(1, "secrets", "create", name, given="x")
    cli.good("secrets", "delete", name, "--yes")
    assert name not in cli.good("secrets", "-o", "name").lines
    assert "drover secrets" in cli.bad(3, "secrets", "delete", name, "--yes")


def test_values_that_cannot_be(cli):
    (cli.folder / "bytes").write_bytes(b"\xff\xfe secret")
    (cli.folder / "long").write_text("x" * 70000)
    assert "UTF-8" in cli.bad(2, "secrets", "create", "BYTES", "--file", "bytes")
    assert "limit" in cli.bad(2, "secrets", "create", "LONG", "--file", "long")
    assert "empty" in cli.bad(2, "secrets", "create", "EMPTY", given="\n")
    assert "cannot" in cli.bad(2, "secrets", "create", "NONE", "--file", "no such").lower()
    cli.bad(2, "secrets", "create", "BYTES", "a value in the arguments")


def test_the_terminal_does_not_show_it(cli, unique):
    name = unique("SECRET")
    shown = cli.terminal("secrets", "create", name)
    shown.wait_for("Value: ")
    shown.type("typed by hand\n")
    done = shown.finish()
    assert done.code == 0 and "typed" not in done.out
    cli.good("secrets", "delete", name, "--yes")


def test_dataloop_json_names_secrets(cli, unique):
    name, service = unique("SECRET").replace("-", "_"), unique("secretive")
    identity = cli.good("secrets", "create", name, "-o", "json", given="open sesame").json["id"]
    folder = cli.folder / "secretive"
    folder.mkdir()
    (folder / "main.py").write_text("import os\nclass ServiceRunner:\n    def run(self):\n        return os.environ['WORD']\n")
    (folder / "dataloop.json").write_text(json.dumps({"name": service, "services": [
        {"name": service, "versions": {"dtlpy": "none"}, "integrations": [{"env": "WORD", "value": identity}]}]}))
    cli.good("deploy", "secretive")
    assert "open sesame" in cli.good("exec", service, "run", "--wait").out
    assert service in cli.bad(1, "secrets", "delete", name, "--yes")
    cli.good("delete", service, "--yes")
    cli.good("secrets", "delete", name, "--yes")
