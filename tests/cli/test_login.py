# SPDX-License-Identifier: Apache-2.0
"""Logins, contexts, servers that are not there, keys that are wrong."""
import json
import os
import socket
import stat

import pytest

import harness


@pytest.fixture
def password(server):
    return server.data / "admin-password"


def config(cli):
    return cli.folder / "home" / ".config" / "drover" / "config.json"


def test_login_with_a_key_and_a_password_and_contexts(stranger, server, password):
    cli = stranger
    key_file = server.data / "admin-key"
    cli.good("login", server.url, "--api-key-file", key_file, "--name", "key")
    assert stat.S_IMODE(config(cli).stat().st_mode) == 0o600
    assert stat.S_IMODE(config(cli).parent.stat().st_mode) == 0o700
    cli.good("login", server.url + "/", "--user", "admin@localhost", "--password-stdin", "--name", "password",
             given=password.read_text())
    listed = cli.good("context", "list", "-o", "json").json
    assert [(one["name"], one["login"], one["current"]) for one in listed] == [
        ("key", "api-key", False), ("password", "password", True)]
    for words in (key_file.read_text().strip(), password.read_text().strip(), "eyJ"):
        assert words not in cli.good("context", "list", "-o", "json").out + cli.good("context", "show", "-o", "json").out
    assert cli.good("services").code == 0
    cli.good("context", "use", "key")
    assert cli.good("context", "show", "-o", "name").out.strip() == "key"
    assert "did you mean 'password'" in cli.bad(3, "context", "use", "passwordd")
    assert "did you mean 'key'" in cli.bad(3, "services", "--context", "keys")
    cli.good("context", "remove", "key")
    assert "No server is named" in cli.bad(4, "services")
    assert cli.good("services", "--context", "password").code == 0
    assert cli.good("services", env={"DROVER_CONTEXT": "password"}).code == 0
    assert list(config(cli).parent.iterdir()) == [config(cli)]


def test_the_project_is_kept_in_the_context(stranger, server, project):
    stranger.good("login", server.url, "--api-key-file", server.data / "admin-key")
    stranger.good("projects", "use", "main")
    assert stranger.good("context", "show", "-o", "json").json["project"] == "main"


def test_a_password_is_asked_for_without_echo(stranger, server, password):
    secret = password.read_text().strip()
    asked = stranger.terminal("login", server.url, "--user", "admin@localhost").wait_for("Password of admin@localhost: ")
    run = asked.type(secret + "\n").finish()
    assert run.code == 0 and "Logged in" in run.plain and secret not in run.out


def test_a_login_that_has_ended_is_renewed(stranger, server, password):
    stranger.good("login", server.url, "--user", "admin@localhost", "--password-file", password, "--name", "it")
    kept = json.loads(config(stranger).read_text())
    kept["contexts"]["it"]["token"] = "ended"
    config(stranger).write_text(json.dumps(kept))
    assert stranger.good("services").code == 0
    renewed = json.loads(config(stranger).read_text())["contexts"]["it"]
    assert renewed["token"] not in ("ended", "") and renewed["refreshToken"]
    kept["contexts"]["it"].update(token="ended", refreshToken="ended, too")
    config(stranger).write_text(json.dumps(kept))
    assert "log in again" in stranger.bad(4, "services")


def test_wrong_passwords_keys_and_addresses(stranger, server):
    (stranger.folder / "wrong").write_text("not-the-password\n")
    assert "next:" in stranger.bad(4, "login", server.url, "--user", "admin@localhost", "--password-file", "wrong")
    assert "drover keys create" in stranger.bad(4, "login", server.url, "--api-key", given="a.b.c")
    assert "no address" in stranger.bad(2, "login", "example.org", "--api-key")
    assert "no address" in stranger.bad(2, "login", "ftp://example.org", "--api-key")
    assert "say as whom" in stranger.bad(2, "login", server.url)
    assert "exclude each other" in stranger.bad(2, "login", server.url, "--user", "a", "--api-key")
    assert "is empty" in stranger.bad(2, "login", server.url, "--api-key", given="\n")
    assert "cannot be reached" in stranger.bad(5, "login", "http://127.0.0.1:1", "--api-key", given="x")
    assert not config(stranger).exists()


def test_no_server_is_exit_code_5_with_the_next_step(cli):
    said = cli.bad(5, "services", "--url", "http://127.0.0.1:1")
    assert "http://127.0.0.1:1 cannot be reached" in said and "drover server" in said
    assert "eyJ" not in said
    assert cli.bad(5, "exec", "hello", "run", "--url", "http://127.0.0.1:1")


def test_something_else_at_the_address(cli, tmp_path):
    import http.server
    import threading

    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def do_GET(self):
            self.do_POST()

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        said = cli.bad(1, "services", "--url", f"http://127.0.0.1:{page.server_port}", env={"DROVER_PROJECT": ""})
        assert "is not Drover's" in said
        page.shutdown()


def test_a_server_that_says_nothing_is_given_up(cli):
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        said = cli.bad(5, "services", env={"DROVER_URL": f"http://127.0.0.1:{stopped.getsockname()[1]}"}, timeout=300)
    assert "took the request but said nothing for 30 s" in said


def test_a_key_goes_only_where_it_belongs(stranger, server):
    """A context's key is not sent to an address that --url names, nor a local key to a far host."""
    stranger.good("login", server.url, "--api-key-file", server.data / "admin-key")
    with_key = stranger.good("services", "--url", server.url)
    assert with_key.code == 0
    other = server.url.replace("127.0.0.1", "localhost")
    assert stranger.bad(4, "services", "--url", other)


def test_a_fresh_server_of_this_folder_is_found(stranger, server):
    """By DIR/admin-key and DIR/url, whatever its port."""
    folder = stranger.folder / "drover-data"
    folder.symlink_to(server.data)
    assert stranger.good("context", "show", "-o", "json").json["url"] == server.url
    assert stranger.good("services").code == 0
    folder.unlink()
    assert stranger.good("services", env={"DROVER_DATA": str(server.data)}).code == 0


def test_https_with_a_certificate_of_ones_own(stranger, tmp_path):
    cert, key = harness.certificate(tmp_path)
    server = harness.Server(tmp_path / "server", tls_cert=str(cert), tls_key=str(key))
    server.url = server.url.replace("http:", "https:")
    os.environ["REQUESTS_CA_BUNDLE"] = str(cert)
    try:
        server.start()
        login = ["login", server.url, "--api-key-file", server.data / "admin-key"]
        assert "certificate" in stranger.bad(5, *login)
        stranger.good(*login, "--ca-file", cert)
        assert stranger.good("services").code == 0
        as_url = {"DROVER_URL": server.url.replace("127.0.0.1", "localhost"), "DROVER_CA_FILE": str(cert),
                  "DROVER_API_KEY": (server.data / "admin-key").read_text().strip()}
        assert stranger.good("services", env=as_url).code == 0
        assert "Cannot read" in stranger.bad(2, *login, "--ca-file", "missing.pem")
    finally:
        del os.environ["REQUESTS_CA_BUNDLE"]
        assert not server.close()


def test_a_proxy_is_not_asked_for_this_machine(cli):
    assert cli.good("services", env={"http_proxy": "http://127.0.0.1:1"}).code == 0


def test_a_broken_file_of_logins_is_named_and_kept(stranger):
    config(stranger).parent.mkdir(parents=True)
    config(stranger).write_text("{broken")
    assert str(config(stranger)) in stranger.bad(2, "services")
    assert config(stranger).read_text() == "{broken"
    config(stranger).write_text('{"contexts": []}')
    assert "no file of logins" in stranger.bad(2, "context", "list")


def test_no_place_for_logins(stranger, server):
    config(stranger).parent.parent.mkdir()
    config(stranger).parent.write_text("a file")
    said = stranger.bad(2, "login", server.url, "--api-key-file", server.data / "admin-key")
    assert str(config(stranger).parent) in said


def test_xdg_config_home(stranger, server, tmp_path):
    env = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    stranger.good("login", server.url, "--api-key-file", server.data / "admin-key", env=env)
    assert (tmp_path / "xdg" / "drover" / "config.json").exists()
    assert os.listdir(stranger.folder / "home") == []
