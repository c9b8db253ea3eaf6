# SPDX-License-Identifier: Apache-2.0
"""drover doctor: each line says how it stands, and what to do."""
import json
import os
import socket
import subprocess

import harness


def doctor(*arguments, env=None, cwd=None):
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
    plain["XDG_CONFIG_HOME"] = str(cwd or "/nonexistent")
    process = subprocess.run([str(harness.BUILD / "drover"), "doctor", *map(str, arguments)], env={**plain, **(env or {})},
                             cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    return process.returncode, process.stdout


def found(*arguments, **more):
    code, out = doctor(*arguments, "-o", "json", **more)
    return code, {one["check"]: one for one in json.loads(out)}


def free():
    return "--listen", f"127.0.0.1:{harness.free_port()}"


def test_a_machine_without_a_server(tmp_path):
    code, checks = found(*free(), cwd=tmp_path)
    assert code == 0 and {"python", "open files", "data folder", "disk space", "disk", "port"} <= set(checks)
    assert all(one["state"] in ("ok", "warn") for one in checks.values())
    assert not (tmp_path / "drover-data").exists(), "it only looks"


def test_what_is_wrong_has_a_next_step(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, checks = found("--listen", "127.0.0.1:%d" % taken.getsockname()[1], "--python", "/nope/python", cwd=tmp_path)
    assert code == 1
    assert checks["port"]["state"] == "fail" and "--listen" in checks["port"]["next"]
    assert checks["python"]["state"] == "fail" and "--python" in checks["python"]["next"]
    code, checks = found("--python", "/bin/true", cwd=tmp_path)
    assert checks["python"]["state"] == "fail" and "is no Python" in checks["python"]["message"]
    (tmp_path / "file").write_text("")
    code, checks = found("--data", tmp_path / "file", *free(), cwd=tmp_path)
    assert code == 1 and checks["data folder"]["state"] == "fail"
    code, out = doctor("--url", "http://127.0.0.1:1", *free(), cwd=tmp_path, env={"DROVER_API_KEY": "x"})
    assert code == 1 and "does not answer" in out and "next: start it" in out


def test_what_is_looked_at_is_the_folder_named(tmp_path):
    """Its server, and when that is down the port where it listened, whatever ./drover-data says."""
    server = harness.Server(tmp_path / "server").start()
    other = tmp_path / "drover-data"
    other.mkdir()
    (other / "admin-key").write_text("key")
    (other / "url").write_text("http://127.0.0.1:1")
    try:
        code, checks = found("--data", server.data, cwd=tmp_path)
        assert code == 0 and server.url in checks["server"]["message"] and "port" not in checks
        (server.data / "logs" / "2026-01-01.db.damaged").write_text("")
        code, checks = found("--data", server.data, "--deep", cwd=tmp_path)
        assert checks["log lines"]["state"] == "warn" and "2026-01-01.db.damaged" in checks["log lines"]["message"]
    finally:
        server.close()
    _, checks = found("--data", server.data, cwd=tmp_path)
    assert checks["port"]["message"] == server.url.removeprefix("http://") + " is free"


def test_certificates(tmp_path):
    certificate, _ = harness.certificate(tmp_path)
    code, checks = found("--tls-cert", certificate, *free(), cwd=tmp_path)
    assert "notAfter" in checks["certificate"]["message"] and checks["certificate"]["state"] in ("ok", "warn")
    (tmp_path / "no.pem").write_text("nothing")
    code, checks = found("--tls-cert", tmp_path / "no.pem", *free(), cwd=tmp_path)
    assert code == 1 and checks["certificate"]["state"] == "fail"


def test_a_server_and_its_folder(tmp_path, unique):
    server = harness.Server(tmp_path / "server").start()
    try:
        api = harness.Api(server, (server.data / "admin-key").read_text().strip())
        env = {"DROVER_DATA": str(server.data)}
        code, checks = found("--deep", env=env, cwd=tmp_path)
        assert code == 0, checks
        assert checks["server"]["state"] == checks["clock"]["state"] == checks["integrity"]["state"] == "ok"
        assert "none is failing" in checks["services"]["message"] and "port" not in checks
        project = api.post("/projects", {"name": "p"})["id"]
        name = unique("broken")
        harness.deploy_plain(api, project, name, "raise RuntimeError('not today')\n", {"run": {}})
        code, checks = harness.wait_for("it fails", lambda: [
            one for one in [found(env=env, cwd=tmp_path)] if one[1]["services"]["state"] == "fail"])[0]
        assert code == 1 and name in checks["services"]["message"] and "drover why" in checks["services"]["next"]
        blob = next((server.data / "blobs").glob("??/*"))
        blob.write_bytes(b"else")
        code, checks = found("--deep", env=env, cwd=tmp_path)
        assert code == 1 and blob.name in checks["blobs"]["message"]
        os.chmod(server.data / "jwt-key", 0o644)
        assert "chmod" in found(env=env, cwd=tmp_path)[1]["permissions"]["next"]
    finally:
        server.close()
