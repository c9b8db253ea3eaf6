# SPDX-License-Identifier: Apache-2.0
"""Code from git: which commit a tag names, private repositories over https, and that nobody sees
the password."""
import base64
import http.server
import os
import pathlib
import ssl
import subprocess
import threading
import urllib.parse

import pytest

import harness

MODULE = {"name": "default_module", "entryPoint": "main.py", "className": "ServiceRunner", "initInputs": [],
          "functions": [{"name": "run", "input": [{"name": "value", "type": "Json"}], "output": [], "description": ""}]}
CODE = "class ServiceRunner:\n    def run(self, value):\n        return [{word!r}, value]\n"
USER, PASSWORD = "röbot", "p@ss:w/ö rd%"
SPELLINGS = [PASSWORD.encode(), urllib.parse.quote(PASSWORD, safe="").encode(), b"p@ss:w",
             base64.b64encode(f"{USER}:{PASSWORD}".encode())]


def where_seen():
    """Processes whose arguments or environment hold the password, in any spelling."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            text = entry.name.isdigit() and (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text and any(one in text for one in SPELLINGS):
            found.append(f"{entry.name}: {text[:200]}")
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the repositories of self.server.folder by git's own CGI program."""

    def allowed(self):
        if not self.server.needs_login:
            return True
        self.server.seen += where_seen()
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        given = self.headers.get("authorization")
        if given == f"Basic {login}":
            self.server.logins += 1
            return True
        self.server.refused += given is not None
        self.send_response(401)
        self.send_header("www-authenticate", 'Basic realm="code"')
        self.send_header("content-length", "0")
        self.end_headers()
        return False

    def do_GET(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not self.allowed():
            return
        environment = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": self.server.folder, "GIT_HTTP_EXPORT_ALL": "1",
                       "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
                       "CONTENT_TYPE": self.headers.get("content-type", ""),
                       "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                       "GIT_PROTOCOL": self.headers.get("git-protocol", "")}
        answer = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True).stdout
        head, _, rest = answer.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)

    do_POST = do_GET

    def log_message(self, *words):
        pass


class Web(http.server.ThreadingHTTPServer):
    def __init__(self, folder, certificate=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = str(folder)
        self.needs_login = certificate is not None
        self.seen, self.logins, self.refused = [], 0, 0
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server_address[1]}/code.git"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Clients that do not trust the certificate hang up."""

    def stop(self):
        self.shutdown()
        self.server_close()


@pytest.fixture
def repository(tmp_path, unique):
    """The folder of a repository code.git, whose refs name "old", "middle" and "new" code."""
    work = tmp_path / "work"
    work.mkdir()

    def git(*words, where=work):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words], cwd=where, check=True,
                       capture_output=True)

    def commit(word):  # never the same commit twice: they are cached by their hash
        (work / "main.py").write_text(f"# {unique()}\n" + CODE.format(word=word))
        git("add", ".")
        git("commit", "-qm", word)

    git("init", "-q", "-b", "main")
    commit("old")
    git("branch", "old/v1")  # listed before the tag v1, and before what else ends so
    git("branch", "both")
    git("tag", "-a", "old/noted", "-m", "an annotated tag, whose commit is listed as …^{}")
    commit("middle")
    git("tag", "v1")
    git("tag", "-a", "noted", "-m", "annotated")
    git("tag", "both")
    git("branch", "grüße")
    commit("new")
    git("clone", "-q", "--mirror", str(work), str(tmp_path / "code.git"), where=tmp_path)
    return tmp_path


@pytest.fixture
def web(repository):
    web = Web(repository)
    yield web
    web.stop()


def deploy(api, project, name, **codebase):
    package = api.post("/packages", {"name": name, "projectId": project, "modules": [MODULE],
                                     "codebase": {"type": "git", **codebase}})
    return package, api.post("/services", {"name": name, "projectId": project, "packageId": package["id"],
                                           "versions": {"dtlpy": "none"}})


def status_says(api, service, words, seconds=30):
    """The service's status, once it tells of that."""
    last = ""

    def told():
        nonlocal last
        last = api.call("GET", f"/services/{service['id']}/status").text
        return words in last
    try:
        harness.wait_for(f"the status says {words!r}", told, seconds)
    except AssertionError as late:
        raise AssertionError(f"{late}; it says {last}") from None
    return last


def log_of(api, service):
    body = {"direction": "asc", "follow": False, "logLevel": "DEBUG", "serviceId": service["id"], "system": True,
            "projectId": service["projectId"], "start": "2020-01-01T00:00:00", "size": 1000}
    return api.call("POST", "/services/logs", body).text


def test_the_commit_that_a_tag_names(api, project, unique, web):
    """In this order: what is in the cache already must not be taken for what only ends like it."""
    wanted = {"old/v1": "old", "v1": "middle", "old/noted": "old", "noted": "middle", "both": "middle",
              "grüße": "middle", "main": "new", None: "new"}
    for tag, word in wanted.items():
        _, service = deploy(api, project.id, unique("git"), gitUrl=web.url, gitTag=tag)
        assert api.run(service["id"], "run", {"value": 7})["output"] == [word, 7], tag
        api.delete(f"/services/{service['id']}?force=true")


def test_a_commit_by_its_hash(api, project, unique, web):
    commit = subprocess.run(["git", "rev-parse", "v1"], cwd=pathlib.Path(web.folder) / "code.git", check=True,
                            capture_output=True, text=True).stdout.strip()
    _, service = deploy(api, project.id, unique("git"), gitUrl=web.url, gitTag=commit)
    assert api.run(service["id"], "run", {"value": 7})["output"] == ["middle", 7]
    api.delete(f"/services/{service['id']}?force=true")


@pytest.mark.parametrize("tag", ["no-such-tag", "noted/v1", "oted"])
def test_git_without_that_tag(api, project, unique, web, tag):
    _, service = deploy(api, project.id, unique("git"), gitUrl=web.url, gitTag=tag)
    status_says(api, service, f'no tag or branch \\"{tag}\\"')
    api.delete(f"/services/{service['id']}?force=true")


# ── private repositories ─────────────────────────────────────────────────────────────────────

@pytest.fixture
def certificate(tmp_path):
    return harness.certificate(tmp_path)


@pytest.fixture
def private(repository, certificate):
    web = Web(repository, certificate)
    yield web
    web.stop()
    assert not web.seen, "the password was in a process: " + "\n".join(web.seen)


def trust(monkeypatch, **variables):
    """Starts servers with these variables, whatever this machine has."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"):
        monkeypatch.delenv(name, raising=False)
    for name, path in variables.items():
        monkeypatch.setenv(name, str(path))


def nothing_tells(server, api, project, package, service):
    """The password is in no answer, log, spec or leftover of an agent."""
    texts = [api.call("GET", path).text for path in (
        f"/packages/{package['id']}", f"/packages/{package['id']}/revisions", f"/services/{service['id']}",
        f"/services/{service['id']}/status")]
    texts += [api.call("POST", "/audit/logs", {"projectId": project, "page": 0, "pageSize": 1000}).text,
              log_of(api, service), server.log.read_text()]
    texts += [path.read_text(errors="replace") for path in (server.data / "run").rglob("*") if path.is_file()]
    assert texts[0].count("***") == 2
    for text in texts:
        assert not any(one.decode() in text for one in SPELLINGS), text[:2000]


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "GIT_SSL_CAINFO"])
def test_a_private_repository_over_https(own_server, monkeypatch, certificate, private, unique, variable):
    trust(monkeypatch, **{variable: certificate[0]})
    server, api = own_server()
    project = api.post("/projects", {"name": "private"})["id"]
    for tag, word in {"v1": "middle", "main": "new", "old/v1": "old"}.items():
        before = private.logins
        package, service = deploy(api, project, unique("git"), gitUrl=private.url, gitTag=tag,
                                  credentials={"username": USER, "password": PASSWORD})
        assert api.run(service["id"], "run", {"value": 7})["output"] == [word, 7]
        assert private.logins > before and private.refused == 0
        nothing_tells(server, api, project, package, service)
        assert not list((server.data / "run").glob("*/git-credentials"))


@pytest.mark.parametrize("given, words", [
    ({"username": USER, "password": PASSWORD + "x"}, "Authentication failed for"),
    (None, "Authentication failed for"),
])
def test_a_private_repository_with_a_wrong_password(own_server, monkeypatch, certificate, private, given, words):
    trust(monkeypatch, SSL_CERT_FILE=certificate[0])
    server, api = own_server()
    project = api.post("/projects", {"name": "private"})["id"]
    package, service = deploy(api, project, "git", gitUrl=private.url, gitTag="v1", credentials=given)
    status_says(api, service, words)
    assert private.logins == 0
    if given:
        assert private.refused > 0
        nothing_tells(server, api, project, package, service)


def test_a_certificate_that_nobody_vouches_for(own_server, monkeypatch, private):
    """The credentials are not sent to whoever answers."""
    trust(monkeypatch)
    server, api = own_server()
    project = api.post("/projects", {"name": "private"})["id"]
    package, service = deploy(api, project, "git", gitUrl=private.url, gitTag="v1",
                              credentials={"username": USER, "password": PASSWORD})
    status_says(api, service, "certificate")
    assert private.logins == private.refused == 0
    nothing_tells(server, api, project, package, service)
