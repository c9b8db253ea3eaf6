# SPDX-License-Identifier: Apache-2.0
"""init, push, deploy: from a folder to a service that runs."""
import json
import socket

import pytest

import harness


def write(folder, code, manifest=None):
    folder.mkdir(exist_ok=True)
    (folder / "main.py").write_text(code)
    if manifest is not None:
        (folder / "dataloop.json").write_text(json.dumps(manifest))
    return folder


SIMPLE = "class ServiceRunner:\n    def run(self, name: str):\n        return name\n"


def test_what_init_writes_is_deployed_and_runs(cli, unique):
    name = unique("first")
    made = cli.good("init", name)
    assert made.lines == [f"{name}/main.py", f"{name}/dataloop.json"]
    run = cli.good("deploy", name, "-o", "json")
    assert run.json["name"] == name
    assert "Ready: 1 of 1 replicas" in run.err
    assert cli.good("exec", name, "run", "name=Ada", "--wait").json == {"text": "Hello, Ada!"}


def test_init_leaves_files_that_are_there_alone(cli):
    (cli.folder / "mine").mkdir()
    (cli.folder / "mine" / "main.py").write_text("# mine\n")
    assert "is there already" in cli.bad(1, "init", "mine")
    assert (cli.folder / "mine" / "main.py").read_text() == "# mine\n"
    assert not (cli.folder / "mine" / "dataloop.json").exists()


def test_init_refuses_a_name_that_a_package_cannot_have(cli):
    assert "allowed are letters" in cli.bad(2, "init", "there", "--name", "a/b")
    assert not (cli.folder / "there").exists()


def test_a_plain_folder_needs_no_manifest(cli, unique):
    name = unique("plain")
    code = 'class ServiceRunner:\n    def add(self, a: int, b: float,\n            c="x),"):\n        return [a, b, c]\n\n    def _hidden(self):\n        pass\n'
    write(cli.folder / name, code)
    run = cli.good("deploy", f"{name}/", "--no-wait")
    assert "functions add" in run.err
    package = cli.good("describe", name, "-o", "json").json["package"]
    (function,) = package["modules"][0]["functions"]
    assert function["input"] == [{"name": "a", "type": "Integer"}, {"name": "b", "type": "Number"},
                                 {"name": "c", "type": "Json"}]


def test_deploying_again_updates_only_what_changed(cli, unique):
    name = unique("again")
    write(cli.folder / name, SIMPLE)
    cli.good("deploy", name)
    same = cli.good("deploy", name)
    assert "revision 1.0.0, unchanged" in same.err and "unchanged, version 1.0.0" in same.err
    (cli.folder / name / "main.py").write_text(SIMPLE.replace("return name", "return name * 2"))
    changed = cli.good("deploy", name)
    assert "revision 1.0.1" in changed.err and "updated to version 1.0.1" in changed.err
    assert cli.good("exec", name, "run", "name=ab", "--wait").json == "abab"


def test_a_manifest_says_services_and_their_settings(cli, unique):
    name, other = unique("many"), unique("other")
    module = {"name": "default_module", "entryPoint": "main.py", "className": "ServiceRunner",
              "functions": [{"name": "run", "input": [{"name": "name", "type": "String"}], "output": []}]}
    settings = {"runtime": {"concurrency": 3, "numReplicas": 1}, "versions": {"dtlpy": "none"}, "executionTimeout": 77}
    write(cli.folder / name, SIMPLE, {"name": name, "components": {"modules": [module], "services": [
        {"name": name, **settings}, {"name": other, **settings}]}})
    cli.good("deploy", name, "--no-wait")
    for each in (name, other):
        service = cli.good("describe", each, "-o", "json").json["service"]
        assert (service["runtime"]["concurrency"], service["executionTimeout"]) == (3, 77)


def test_options_win_over_the_manifest(cli, unique):
    name = unique("options")
    write(cli.folder / name, SIMPLE)
    cli.good("deploy", name, "--name", name + "-b", "--replicas", 0, "--concurrency", 7)
    runtime = cli.good("describe", name + "-b", "-o", "json").json["service"]["runtime"]
    assert (runtime["numReplicas"], runtime["concurrency"]) == (0, 7)


@pytest.mark.parametrize("manifest, words", [
    ("{", "dataloop.json: "),
    ("[]", "an array, not an object"),
    ('{"modules": 5}', "modules must be an array"),
    ('{"name": 5}', "name must be a string"),
    ('{"services": {}}', "services must be an array"),
    ('{"modules": [{"name": "m", "entryPoint": "main.py", "functions": [{"name": ""}]}]}', "modules[0].functions[0].name"),
    ('{"modules": [{"name": "m", "entryPoint": "no.py", "functions": [{"name": "run"}]}]}', "the entry point"),
])
def test_what_is_wrong_with_a_manifest_is_named_before_anything_is_sent(cli, manifest, words):
    write(cli.folder / "bad", SIMPLE)
    (cli.folder / "bad" / "dataloop.json").write_text(manifest)
    said = cli.bad(2, "deploy", "bad", env={"DROVER_URL": "http://127.0.0.1:1"})
    assert words in said and "dataloop.json" in said, said


def test_a_wrong_name_is_refused_before_anything_is_sent(cli, unique):
    write(cli.folder / "named", SIMPLE)
    package = unique("kept-away")
    for verb, option in (("deploy", "--name"), ("deploy", "--package"), ("push", "--name")):
        said = cli.bad(2, verb, "named", option, "x/y")
        assert f"{option}" in said and "Uploaded" not in said and "Packed" not in said, said
    assert "Uploaded" not in cli.bad(2, "deploy", "named", "--package", package, "--name", "x/y")
    assert package not in cli.good("packages", "-o", "name").lines


def test_what_the_server_finds_wrong_is_told(cli, unique):
    name = unique("wrong")
    write(cli.folder / name, SIMPLE, {"services": [{"name": name, "runtime": {"concurrency": 0}}]})
    assert "runtime.concurrency" in cli.bad(2, "deploy", name)


def test_folders_without_code_are_refused(cli):
    (cli.folder / "empty").mkdir()
    assert "neither dataloop.json nor main.py" in cli.bad(2, "deploy", "empty")
    assert "There is no folder nowhere" in cli.bad(2, "push", "nowhere")
    (cli.folder / "empty" / "main.py").write_text("x = 1\n")
    assert "no class ServiceRunner" in cli.bad(2, "deploy", "empty")


def test_what_is_no_code_stays_here(cli, api, unique):
    name = unique("left-out")
    folder = write(cli.folder / name, SIMPLE)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (folder / "data").mkdir()
    (folder / "data" / "big.bin").write_text("x" * 1000)
    (folder / "notes.txt").write_text("x")
    (folder / ".droverignore").write_text("# comment\ndata/\n*.txt\n")
    assert "1 file," in cli.good("push", name).err


def test_a_service_that_does_not_start_is_an_error_with_its_words(cli, unique):
    name = unique("broken")
    write(cli.folder / name, "import nothing_like_this\n" + SIMPLE)
    said = cli.bad(1, "deploy", name)
    assert "does not start" in said and "nothing_like_this" in said, said
    cli.good("delete", name, "--yes", "--force")


def test_the_first_deployment_makes_a_project(tmp_path, home, unique):
    from conftest import Cli
    server = harness.Server(tmp_path / "server").start()
    try:
        cli = Cli(tmp_path / "user", server.url, (server.data / "admin-key").read_text().strip())
        write(cli.folder / "one", SIMPLE)
        assert "Project default" in cli.good("deploy", "one", "--no-wait").err
        cli.good("projects", "create", "second")
        said = cli.bad(2, "deploy", "one")
        assert "default, second" in said and "--project" in said
    finally:
        assert not server.close()


def test_ctrl_c_while_a_server_is_silent(cli, interrupt):
    cli.good("init", "quiet")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cli.environment.update(DROVER_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        process = cli.start("push", "quiet")
        with silent.accept()[0]:
            code, out, err = interrupt(process)
    assert code == 130 and not out, err
