# SPDX-License-Identifier: Apache-2.0
"""What is made of the table of verbs: help, man pages, completion; and that the examples are true."""
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

import harness
from conftest import DROVER, Cli, told

OWN = {"server", "schema", "master-key"}  # verbs with options of their own alone
EXIT_CODES = {0, 1, 2, 3, 4, 5, 6, 130}


def verbs():
    """Every verb of `drover help`."""
    text = subprocess.run([DROVER, "help"], capture_output=True, text=True, check=True).stdout
    head = text.partition("\nExamples:")[0]
    return [" ".join(found.split()) for found in re.findall(r"^  ([a-z-]+(?: [a-z]+)?)  +\S", head, re.M)]


def examples():
    for verb in verbs():
        text = subprocess.run([DROVER, "help", *verb.split()], capture_output=True, text=True, check=True).stdout
        for what, command in re.findall(r"^  # (.*)\n  (.*)$", text, re.M):
            yield pytest.param(verb, command, id=f"{verb}: {what}")


def test_there_are_verbs():
    assert {"server", "deploy", "exec", "logs", "context use", "completion"} <= set(verbs())


@pytest.mark.parametrize("verb", verbs())
def test_help_says_what_there_is(stranger, verb):
    text = stranger.good("help", *verb.split()).out
    assert text == stranger.good(*verb.split(), "--help").out == stranger.good(*verb.split(), "-h").out
    assert text.startswith(f"Usage: drover {verb}")
    if verb not in OWN:
        for heading in ("Everywhere:", "Examples:", "Exit codes:"):
            assert heading in text, heading
        assert "\n  130 Ctrl-C" in text
    assert all(len(line) <= 100 for line in text.splitlines() if not line.startswith("  drover")), text


def test_help_of_a_family_and_of_exit_codes(stranger):
    text = stranger.good("help", "context").out
    assert "context use" in text and "context remove" in text
    listed = {int(line.split()[0]) for line in stranger.good("help", "exit-codes").lines}
    assert listed == EXIT_CODES


@pytest.mark.parametrize("words, near", [
    (["servises"], "services"), (["exce", "a", "b"], "exec"), (["context", "lst"], "context list"),
    (["help", "deplyo"], "deploy"), (["keys", "creat"], "keys create"),
])
def test_verbs_that_are_nearly_right(stranger, words, near):
    assert f"did you mean '{near}'" in stranger.bad(2, *words)


def test_no_verb_and_unknown_options(stranger):
    assert "Usage: drover VERB" in stranger.bad(2)
    assert "did you mean --all" in stranger.bad(2, "users", "--al")
    assert "did you mean --watch" in stranger.bad(2, "services", "--wacth")
    assert "unknown option '-Z'" in stranger.bad(2, "services", "-Z")
    assert stranger.good("--version").out == stranger.good("version").out


def test_man_pages_are_clean(stranger):
    stranger.good("man", "pages")
    pages = sorted((stranger.folder / "pages").iterdir())
    assert len(pages) == len(verbs()) + 1
    for page in pages:
        made = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", str(page)], capture_output=True, text=True,
                              env=dict(os.environ, MANWIDTH="90", LC_ALL="C.UTF-8", MANROFFOPT=""))
        assert made.returncode == 0 and made.stderr == "", f"{page.name}: {made.stderr}"
        for heading in ("NAME", "SYNOPSIS"):
            assert re.search(rf"^\S*{heading}", re.sub(r"\x1b\[[0-9;]*m|.\x08", "", made.stdout), re.M), page.name
    text = (stranger.folder / "pages" / "drover-exec.1").read_text()
    assert "\\-\\-input" in text and "EXIT STATUS" in text
    codes = re.findall(r"^\.B (\d+)$", text, re.M)
    assert codes == ["0", "1", "2", "3", "4", "5", "6", "130"], codes
    assert "\n.B 6\n" not in (stranger.folder / "pages" / "drover-services.1").read_text()


# ── the examples ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def stage(home, server, admin_key, service):
    """A user with everything that the examples speak of: hello, ada, robots, a key, executions."""
    cli = Cli(home / "examples", server.url, admin_key)
    cli.environment["DROVER_PROJECT"] = "main"
    (cli.folder / "hello").mkdir()
    from conftest import CODE
    (cli.folder / "hello" / "main.py").write_text(CODE)
    data = cli.folder / "drover-data"
    data.symlink_to(server.data)
    (cli.folder / "home" / ".local/share/bash-completion/completions").mkdir(parents=True)
    return cli


def prepared(stage, server, verb, command):
    """The example with real ids and addresses, after what it needs was made."""
    def quietly(*words, **more):
        return stage(*words, **more)

    if verb == "preempt":
        ready = harness.wait_for("a replica is ready", lambda: [
            one["replicaId"] for one in stage.good("rollout", "status", "hello", "-o", "json").json["replicas"]
            if one["state"] == "ready"])
        command = command.replace("65f0a1b2c3d4e5f60718293a", ready[0])
    elif "65f0a1b2c3d4e5f60718293a" in command:
        if verb.startswith("notifications"):
            identity = told(harness.Api(server, stage.environment["DROVER_API_KEY"]), "hello")
        elif verb.startswith("keys"):
            identity = stage.good("keys", "create", "-o", "json").json["id"]
        else:
            function = "count" if verb == "cancel" else "run"
            more = [] if verb == "cancel" else ["--wait"]
            values = ["to=40"] if verb == "cancel" else ["name=x"]
            identity = stage.good("exec", "hello", function, *values, *more, "-o", "name").out.strip()
        command = command.replace("65f0a1b2c3d4e5f60718293a", identity)
    if verb in ("rerun", "top") or "--watch" in command or " -f" in command:
        command = command.replace("drover rerun --", "drover rerun --yes --") if "--yes" not in command else command
    if verb == "login":
        password = (server.data / "admin-password").read_text().strip()
        command = command.replace("http://127.0.0.1:8080", server.url).replace("https://faas.example.org", server.url)
        command = command.replace("ada@example.org", "admin@localhost")
        command = command if "key-file" in command else f"{command} --password-stdin <<< {password}"
    if verb.startswith(("context use", "context remove")):
        stage.good("login", server.url, "--api-key-file", server.data / "admin-key", "--name", "production")
    if verb.startswith("users"):
        quietly("users", "remove", "ada@example.org", "--yes")
        if verb != "users invite":
            quietly("users", "invite", "ada@example.org")
    if verb.startswith("projects"):
        quietly("projects", "delete", "robots", "--yes")
        if verb in ("projects use", "projects delete"):
            quietly("projects", "create", "robots")
    if verb.startswith("secrets"):
        (stage.folder / "token.txt").write_text("a token")
        (stage.folder / "new.txt").write_text("another token")
        if verb == "secrets create":
            quietly("secrets", "delete", "API_TOKEN", "--yes")
        else:
            quietly("secrets", "create", "API_TOKEN", given="a token")
        command = command.replace("pass show api", "cat token.txt")
        if command == "drover secrets create API_TOKEN":
            command += " < token.txt"
    if verb == "projects use":
        stage.good("login", server.url, "--api-key-file", server.data / "admin-key", "--name", "production")
        command = "unset DROVER_URL DROVER_API_KEY; " + command
    if verb == "init":
        command = command.replace("hello", "hello-new")
    if verb == "delete":
        quietly("deploy", "hello", "--name", "doomed", "--package", "doomed", "--replicas", "0")
        command = command.replace("hello", "doomed")
    if verb in ("backup", "restore", "doctor"):
        (stage.folder / "backup.tar").unlink(missing_ok=True)
        command = command.replace("/var/lib/drover", "restored" if verb == "restore" else "drover-data")
    if verb == "restore":
        shutil.rmtree(stage.folder / "restored", ignore_errors=True)
        stage.good("backup", "backup.tar")
    if verb == "run":
        (stage.folder / "input.json").write_text('{"name": "Ada"}')
    if verb == "up":
        command = f"{command} --no-example --data up-data --listen 127.0.0.1:{harness.free_port()}"
    if verb == "rollout undo":
        stage.good("deploy", "hello", "--concurrency", str(time.time_ns() % 90 + 2))
        first = stage.good("rollout", "history", "hello", "-o", "name").lines[-1]
        command = command.replace("1.0.2", first)
    if verb == "man":
        command = command.replace("/tmp/drover-man", "man-pages")
    return command


ENDLESS = ("--watch", "drover logs hello -f", "drover events -f", "drover notifications list -f", "drover up")  # until Ctrl-C


@pytest.mark.parametrize("verb, command", examples())
def test_every_example_works(stage, server, verb, command):
    line = prepared(stage, server, verb, command)
    if any(words in command for words in ENDLESS):
        run = stage.shell(f"timeout --preserve-status -s INT 2 {line}")
        assert run.code in (0, 130), f"{line}: {run}"
    else:
        run = stage.shell(line)
        assert run.code == 0, f"{line}: {run}"
    if verb == "scale":
        stage.good("scale", "hello", 1)
    stage.good("resume", "hello")


# ── completion ───────────────────────────────────────────────────────────────────────────────


def complete(cli, *words):
    run = cli("__complete", "--", *words)
    return [line.split("\t")[0] for line in run.lines]


def test_candidates(cli, service):
    assert {"deploy", "exec", "context", "server"} <= set(complete(cli, ""))
    assert complete(cli, "depl") == ["deploy"]
    assert set(complete(cli, "context", "")) == {"list", "use", "show", "remove"}
    assert service in complete(cli, "describe", "")
    assert complete(cli, "exec", service, "co") == ["count"]
    assert "--follow" in complete(cli, "logs", "--")
    assert complete(cli, "services", "-o", "js") == ["json", "jsonl"]
    assert service in complete(cli, "executions", "--service", "")
    assert complete(cli, "executions", "--status", "fai") == ["failed"]
    assert "--listen" in complete(cli, "server", "--l")
    assert complete(cli, "deploy", "") == [":files"]
    assert complete(cli, "users", "role", "x", "d") == ["developer"]
    assert complete(cli, "projects", "use", "ma") == ["main"]
    assert complete(cli, "nonsense", "") == []


def test_completion_without_a_server_is_silent(stranger):
    run = stranger("__complete", "--", "describe", "", env={"DROVER_URL": "http://127.0.0.1:1"})
    assert (run.code, run.out) == (0, "")


def test_bash_completes(cli, service):
    script = 'source <(drover completion bash); COMP_WORDS=(drover exec hello cou); COMP_CWORD=3; _drover; echo "${COMPREPLY[@]}"'
    assert cli.shell(script).out.strip() == "count"
    script = script.replace("exec hello cou", "deploy ho").replace("CWORD=3", "CWORD=2")
    assert cli.shell(script).out.strip() == "home"
    assert "bash or zsh" in cli.bad(2, "completion", "fish")


def test_zsh_completes(cli, service):
    """In a real zsh: the words are typed, then Tab."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(cli.folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], dict(cli.environment, PS1="> "))
    text = ""

    def until(pattern, seconds=20):
        nonlocal text
        end = time.monotonic() + seconds * harness.SLOW
        while not re.search(pattern, text):
            assert time.monotonic() < end, f"no {pattern!r} in {text!r}"
            if select.select([fd], [], [], 0.1)[0]:
                text += os.read(fd, 65536).decode(errors="replace")

    try:
        os.write(fd, b"autoload -Uz compinit; compinit -u -D; source <(drover completion zsh); echo rea''dy\n")
        until(r"ready\r")
        text = ""
        os.write(fd, b"drover describe hell\t\n")
        until(r"Package revision:")
        assert f"Name:             {service}" in re.sub(r"\x1b\[[0-9;]*m", "", text)
        text = ""
        os.write(fd, f"drover exec {service} \t".encode())  # the next word, not this one again
        until(r"count")
        os.write(fd, b"\x03")
    finally:
        os.write(fd, b"\x03exit\n")
        time.sleep(0.1)
        os.close(fd)
        os.waitpid(pid, 0)


def test_the_page_says_what_drover_says(stranger):
    """docs/cli.md: the table of exit codes is help's, and every verb in it exists."""
    page = (harness.ROOT / "docs" / "cli.md").read_text()
    table = re.findall(r"^\| (\d+) \| (.*) \|$", page, re.M)
    said = [(line.split()[0], line[24:]) for line in stranger.good("help", "exit-codes").lines]
    assert table == said
    first = {verb.split()[0] for verb in verbs()} | {"help"}
    named = {word for words in re.findall(r"`drover ([a-z]+)|^drover ([a-z]+)", page, re.M) for word in words if word}
    assert len(named) > 15 and named <= first, named - first
