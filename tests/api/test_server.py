# SPDX-License-Identifier: Apache-2.0
"""The server's own start: addresses, the first start's secrets, TLS, and what goes wrong."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

import harness


class Started:
    """`drover server` as a person starts it, with its stderr in a file."""

    def __init__(self, folder, *options, **more):
        self.log = folder / "stderr"
        self.process = subprocess.Popen(
            [str(harness.BUILD / "drover"), "server", "--data", str(folder / "data"), "--cache",
             str(harness.CACHE / "agents"), "--python", sys.executable, *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log.open("wb"), cwd=folder, **more)

    def text(self):
        return self.log.read_text(errors="replace")

    def ready_url(self):
        def url():
            assert self.process.poll() is None, self.text()
            found = [line for line in self.text().splitlines() if "ready at " in line]
            return found and found[0].partition("ready at ")[2].split()[0]
        return harness.wait_for("the server is ready", url)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30 * harness.SLOW)


@pytest.fixture
def started(tmp_path):
    made = []

    def start(*options, folder=tmp_path, **more):
        made.append(Started(folder, *options, **more))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def test_port_zero_is_named_by_its_number(started):
    url = started("--listen", "127.0.0.1:0").ready_url()
    assert not url.endswith(":0")
    assert requests.get(url + "/readyz", timeout=10).status_code == 200
    assert requests.get(url + "/api/v1/openapi.json", timeout=10).json()["servers"][0]["url"].startswith(url)


def drover(folder, *arguments, **env):
    """A `drover` of somebody who works in the server's folder."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
    return subprocess.run([str(harness.BUILD / "drover"), *arguments], cwd=folder, capture_output=True, text=True, check=False,
                          env={**plain, "XDG_CONFIG_HOME": str(folder / "config"), **env}, timeout=60 * harness.SLOW)


def test_a_server_on_a_socket(started, tmp_path):
    """It names what can be asked, and a drover of the same folder asks it."""
    address = f"unix:{tmp_path}/s"
    assert started("--listen", "unix:s").ready_url() == address
    assert (tmp_path / "data" / "url").read_text().strip() == address
    good = drover(tmp_path, "services", DROVER_DATA="data")
    assert good.returncode == 0, good.stderr
    key = (tmp_path / "data" / "admin-key").read_text().strip()
    assert drover(tmp_path, "services", DROVER_URL=address, DROVER_API_KEY=key).returncode == 0
    looked = json.loads(drover(tmp_path, "doctor", "--data", "data", "-o", "json").stdout)
    assert {one["check"]: one["state"] for one in looked}["server"] == "ok"


def test_a_folder_without_its_key(started, tmp_path):
    """As after a restore without keys: nobody is sent to a file that is not there, or to another folder."""
    one = started("--listen", "127.0.0.1:0")
    one.ready_url()
    assert f"admin key in {tmp_path}/data/admin-key" in one.text()
    one.stop()
    (tmp_path / "data" / "admin-key").unlink()
    one = started("--listen", "127.0.0.1:0")
    one.ready_url()
    assert "admin key in" not in one.text() and "`drover login` with a password" in one.text()
    said = drover(tmp_path, "services", DROVER_DATA="data").stderr
    assert "data has no admin-key" in said and "drover-data" not in said
    assert "there is no elsewhere of one here" in drover(tmp_path, "services", DROVER_DATA="elsewhere").stderr


@pytest.mark.parametrize("python, there", [("python3", True), ("/nonexistent/python", False), ("nonexistent-python", False)])
def test_a_python_that_is_not_there_is_told_at_the_start(started, python, there):
    one = started("--listen", "127.0.0.1:0", "--python", python)
    one.ready_url()
    assert (f"{python} is not there" in one.text()) != there


def test_closed_standard_files_become_dev_null(started, tmp_path):
    """A socket or a database with the number of stderr would get what is printed there."""
    def close_all():
        for number in range(3):
            os.close(number)
    one = started("--listen", "127.0.0.1:0", preexec_fn=close_all)
    harness.wait_for("it is ready", (tmp_path / "data" / "url").exists)
    for number in range(3):
        assert os.readlink(f"/proc/{one.process.pid}/fd/{number}") == "/dev/null"


def runs_a_function(api):
    project = api.post("/projects", {"name": "p"})
    service = harness.deploy_plain(api, project["id"], "here", "class ServiceRunner:\n    def run(self):\n"
                                   "        return 'here'\n", {"run": {}})
    assert api.run(service["id"])["output"] == "here"


def test_a_deep_data_folder(own_server, tmp_path, monkeypatch):
    """Deeper than the name of a unix socket may be: agents find it all the same."""
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    server = harness.Server(deep).start()
    try:
        api = harness.Api(server, (server.data / "admin-key").read_text().strip())
        runs_a_function(api)
    finally:
        problems = server.close()
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_first_start_tells_how_to_log_in(started, form, tmp_path):
    one = started("--listen", "127.0.0.1:0", "--log-format", form)
    one.ready_url()
    key, password = ((tmp_path / "data" / name).read_text() for name in ("admin-key", "admin-password"))
    for name in ("admin-key", "admin-password"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600
    assert key.endswith("\n") and password.endswith("\n")
    assert one.text().count(key.strip()) == 1 and one.text().count(password.strip()) == 1
    if form == "json":
        assert all(json.loads(line) for line in one.text().splitlines())
    assert one.stop() == 0
    quiet_folder = tmp_path / "quiet"
    quiet_folder.mkdir()
    quiet = started("--listen", "127.0.0.1:0", "--log-format", form, "--log-level", "error", folder=quiet_folder)
    made = harness.wait_for("the key is made", lambda: (quiet_folder / "data" / "admin-key").exists()
                            and (quiet_folder / "data" / "admin-key").read_text().strip())
    harness.wait_for("it is told at every log level", lambda: made in quiet.text())
    again = started("--listen", "127.0.0.1:0", "--log-format", form)
    again.ready_url()
    assert key.strip() not in again.text() and password.strip() not in again.text()


def test_secrets_of_a_first_start_that_fails_are_told(started, tmp_path):
    one = started("--listen", "127.0.0.1:0", "--agent-listen", f"unix:{tmp_path}/no/such/folder/agent.sock")
    assert one.process.wait(30 * harness.SLOW) == 1
    assert (tmp_path / "data" / "admin-key").read_text().strip() in one.text()
    assert "cannot start" in one.text()


def test_a_port_in_use_makes_nothing(started, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        one = started("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert one.process.wait(30 * harness.SLOW) == 1
    assert "in use" in one.text() and not (tmp_path / "data").exists()


def test_one_server_for_a_data_folder(started):
    first = started("--listen", "127.0.0.1:0")
    first.ready_url()
    second = started("--listen", "127.0.0.1:0")
    assert second.process.wait(30 * harness.SLOW) == 1
    assert str(first.process.pid) in second.text()


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────

@pytest.fixture
def certificate(tmp_path):
    return harness.certificate(tmp_path)


DTLPY_OVER_TLS = """
import sys, json, time
import dtlpy as dl
url, key, source = sys.argv[1:]
dl.client_api.add_environment(environment=url + "/api/v1", alias="tls", gate_url=url, verify_ssl=False, url=url + "/")
dl.setenv("tls")
dl.login_api_key(api_key=key)
dl.verbose.disable_progress_bar = True
project = dl.projects.create(project_name="tls")
dataset = project.datasets.create(dataset_name="data")
open("note.txt", "w").write("over TLS")
item = dataset.items.upload(local_path="note.txt")
assert item.download(save_locally=False).read() == b"over TLS"
package = project.packages.push(package_name="lengths", src_path=source, modules=[dl.PackageModule(
    entry_point="main.py", functions=[dl.PackageFunction(name="run", inputs=[dl.FunctionIO(name="item", type="Item")])])])
service = project.services.deploy(service_name="lengths", package=package)
execution = service.execute(execution_input={"item": item.id}, project_id=project.id)
execution = execution.wait()
assert dataset.items.get(filepath="/copy.txt").download(save_locally=False).read() == b"over TLS"
print(json.dumps({"status": execution.latest_status["status"], "output": execution.output}))
"""

FUNCTION_OVER_TLS = """
class ServiceRunner:
    def run(self, item):
        content = item.download(save_locally=False).read()
        with open("copy.txt", "wb") as file:
            file.write(content)
        item.dataset.items.upload(local_path="copy.txt")
        return {"name": item.name, "bytes": len(content)}
"""


def test_dtlpy_over_tls(certificate, tmp_path):
    """A certificate that nobody else vouches for: the dtlpy inside the function checks and trusts it."""
    cert, key = certificate
    server = harness.Server(tmp_path / "server", tls_cert=str(cert), tls_key=str(key))
    server.url = server.url.replace("http://", "https://")
    trusted = {"REQUESTS_CA_BUNDLE": str(cert), "SSL_CERT_FILE": str(cert)}
    plain = dict(os.environ)
    os.environ.update(trusted)
    try:
        server.start()
        source = tmp_path / "work" / "source"
        source.mkdir(parents=True)
        (source / "main.py").write_text(FUNCTION_OVER_TLS)
        environment = {**os.environ, "DATALOOP_PATH": str(tmp_path / "dataloop")}
        ran = subprocess.run([sys.executable, "-c", DTLPY_OVER_TLS, server.url,
                              (server.data / "admin-key").read_text().strip(), str(source)],
                             cwd=tmp_path / "work", env=environment, capture_output=True, text=True,
                             timeout=400 * harness.SLOW)
        assert ran.returncode == 0, ran.stdout + ran.stderr + server.tail()
        assert json.loads(ran.stdout.splitlines()[-1]) == {"status": "success",
                                                           "output": {"name": "note.txt", "bytes": 8}}
    finally:
        os.environ.clear()
        os.environ.update(plain)
        problems = server.close()
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("tls", [False, True])
def test_agents_over_tcp(certificate, tmp_path, monkeypatch, tls):
    """As in a cluster: agents reach the server at a port, under TLS with the server's own certificate."""
    cert, key = certificate
    options = {"tls_cert": str(cert), "tls_key": str(key)} if tls else {}
    server = harness.Server(tmp_path / "server", agent_listen=f"127.0.0.1:{harness.free_port()}", **options)
    if tls:
        server.url = server.url.replace("http://", "https://")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
    try:
        server.start()
        api = harness.Api(server, (server.data / "admin-key").read_text().strip())
        api.session.verify = str(cert) if tls else True
        runs_a_function(api)
    finally:
        problems = server.close()
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("options, names", [
    (["--agent-listen", "127.0.0.1:0"], "--agent-listen"), (["--agent-url", "ftp://x"], "--agent-url"),
    (["--listen", "nowhere"], "HOST:PORT"), (["--tls-cert", "x.pem"], "--tls-key"), (["--lease", "0"], "--lease"),
    (["--nonsense"], "--nonsense")])
def test_options_that_cannot_be(started, tmp_path, options, names):
    """Refused by their names before anything is made."""
    one = started(*([] if "--listen" in options else ["--listen", "127.0.0.1:0"]), *options)
    assert one.process.wait(30 * harness.SLOW) == 2
    assert names in one.text() and not (tmp_path / "data").exists()


def test_a_key_that_does_not_fit(certificate, started, tmp_path):
    cert, _ = certificate
    other = tmp_path / "other.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", other], check=True,
                   capture_output=True)
    one = started("--listen", "127.0.0.1:0", "--tls-cert", str(cert), "--tls-key", str(other))
    assert one.process.wait(30 * harness.SLOW) == 1
    assert "certificate and the key do not fit" in one.text()
