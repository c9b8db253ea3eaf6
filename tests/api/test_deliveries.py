# SPDX-License-Identifier: Apache-2.0
"""Notifications by webhook and mail, to receivers that fail now and then."""
import email
import email.policy
import hashlib
import hmac
import json
import subprocess

import pytest

import harness
import receivers

CODE = "class ServiceRunner:\n    def run(self):\n        pass\n"
SECRET = "what a webhook is signed with"


@pytest.fixture
def secret_file(tmp_path):
    """secret_file(text, mode): a file that holds it."""
    made = []

    def write(text, mode=0o600):
        path = tmp_path / f"secret{len(made)}"
        path.write_text(text + "\n")
        path.chmod(mode)
        made.append(path)
        return str(path)

    return write


@pytest.fixture
def telling(own_server, unique):
    """telling(**options): the API of a server with these options, and a service on it that can tell something."""

    def start(**options):
        server, api = own_server(**options)
        project = api.post("/projects", {"name": unique("told")})["id"]
        return server, api, harness.deploy_plain(api, project, "teller", CODE, {"run": {}}, active=False)

    return start


def tell(api, service, name="DiskFull", message="no space left"):
    api.post(f"/services/{service['id']}/notify", {"action": "created", "notificationName": name, "message": message})
    return api.get("/notifications", params={"type": name})["items"][0]["id"]


def deliveries(api, notification):
    return api.get(f"/notifications/{notification}/deliveries")["items"]


def ended(api, notification, count=1):
    """Its deliveries, once all of them have ended."""
    def check():
        found = deliveries(api, notification)
        return found if len(found) == count and all(one["state"] != "waiting" for one in found) else None
    return harness.wait_for("the deliveries end", check, 60)


def counted(server, channel, result):
    import requests
    text = requests.get(server.url + "/metrics", timeout=30).text
    wanted = f'drover_notification_deliveries_total{{channel="{channel}",result="{result}"}} '
    return next(int(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted))


def test_a_webhook_that_fails_twice(telling, secret_file):
    with receivers.Webhook(["cut", 500]) as hook:
        server, api, service = telling(notify_webhook=f"http://127.0.0.1:{hook.port}/hook/?key=1",
                                       notify_secret=secret_file(SECRET))
        error = "Traceback (most recent call last):\n  …\nValueError: ✗"
        identity = tell(api, service, message=error)
        tell(api, service, message=error)
        done, = ended(api, identity)
    assert (done["state"], done["channel"], done["attempts"], done["error"]) == ("delivered", "webhook", 3, None)
    assert len(hook.got) == 3 and {path for path, _, _ in hook.got} == {"/hook/?key=1"}
    assert {headers["idempotency-key"] for _, headers, _ in hook.got} == {done["id"]}
    for number, (_, headers, body) in enumerate(hook.got):
        assert headers["content-type"] == "application/json"
        assert headers["x-drover-signature"] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        told = json.loads(body)
        assert told["attempt"] == number + 1 and told["deliveryId"] == done["id"]
        assert told["notification"]["message"] == error and told["notification"]["id"] == identity
        assert "readers" not in told["notification"]
    assert counted(server, "webhook", "delivered") == 1 and counted(server, "webhook", "retried") == 2


def test_mail_to_the_owners(telling, secret_file):
    with receivers.Mailbox(login="drover:pass:word") as box:
        server, api, service = telling(smtp_url=f"smtp://127.0.0.1:{box.port}", smtp_from="drover@example.org",
                                       smtp_login=secret_file("drover:pass:word"))
        for name, role in (("ann", "owner"), ("bob", "viewer"), ("cat", "owner")):
            api.post("/users", {"email": f"{name}@example.org", "password": "correct horse battery"})
            api.post(f"/projects/{service['projectId']}/members/{name}@example.org", {"role": role})
        box.refuse["ann@example.org"] = ["451 come back later"]
        box.refuse["cat@example.org"] = ["550 nobody of that name"]
        identity = tell(api, service, message="line 1\n.\n" + "ünd " * 100)
        people = {one["target"]: one for one in ended(api, identity, 3)}
    assert people["ann@example.org"]["state"] == "delivered" and people["ann@example.org"]["attempts"] == 2
    assert people["cat@example.org"]["state"] == "failed" and people["cat@example.org"]["attempts"] == 1
    assert "550" in people["cat@example.org"]["error"]
    sender, recipient, text = next(one for one in box.got if one[1] == "ann@example.org")
    mail = email.message_from_string(text, policy=email.policy.default)
    assert sender == "drover@example.org" and mail["to"] == "ann@example.org"
    assert mail["subject"] == "[Drover] teller says: DiskFull"
    assert mail["message-id"] == f"<{people['ann@example.org']['id']}@drover>"
    body = mail.get_content()
    assert body.startswith("teller says: DiskFull.\n\nline 1\n.\nünd ünd ") and f"/notifications/{identity}" in body
    assert {one[1] for one in box.got} == {"ann@example.org", "admin@localhost"}
    failed, = [one for one in api.get(f"/services/{service['id']}/events")["items"] if one["reason"] == "NotificationUndelivered"]
    assert failed["level"] == "warning" and "550" in failed["message"]
    assert counted(server, "mail", "failed") == 1 and counted(server, "mail", "delivered") == 2


def test_mail_to_chosen_people_over_a_login_that_is_wrong(telling, secret_file):
    with receivers.Mailbox(login="drover:right") as box:
        _, api, service = telling(smtp_url=f"smtp://localhost:{box.port}", smtp_from="drover@example.org",
                                  smtp_to="a@example.org, b@example.org", smtp_login=secret_file("drover:wrong"))
        identity = tell(api, service)
        harness.wait_for("it was tried twice", lambda: any(one["attempts"] > 1 for one in deliveries(api, identity)))
        assert {one["state"] for one in deliveries(api, identity)} == {"waiting"}, "a person may mend a login"
        box.login = "drover:wrong"
        assert {one["target"] for one in ended(api, identity, 2)} == {"a@example.org", "b@example.org"}
    assert sorted(one[1] for one in box.got) == ["a@example.org", "b@example.org"]


def test_a_server_stops_at_once_while_a_mail_hangs(telling):
    import socket
    import time
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and says nothing
        server, api, service = telling(smtp_url=f"smtp://127.0.0.1:{mute.getsockname()[1]}", smtp_from="d@example.org",
                                       smtp_to="a@example.org")
        tell(api, service)
        mute.accept()
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 25, "not for the 30 s that a mail may take"


def test_only_administrators_see_where_it_went(api, people, project):
    people("owner", project.id).bad(403, "GET", f"/notifications/{'0' * 24}/deliveries")
    assert api.get(f"/notifications/{'0' * 24}/deliveries")["items"] == []


@pytest.mark.parametrize("options, words", [
    ({"notify-webhook": "http://localhost/"}, "--notify-secret is missing"),
    ({"notify-webhook": "ftp://localhost/", "notify-secret": "x"}, "must begin with http"),
    ({"notify-webhook": "http://localhost/", "notify-secret": "OPEN"}, "chmod 600"),
    ({"smtp-url": "smtp://localhost"}, "--smtp-from is missing"),
    ({"smtp-url": "http://localhost", "smtp-from": "a@b.c"}, "must begin with smtp"),
    ({"smtp-url": "smtp://localhost", "smtp-from": "nobody"}, "--smtp-from"),
    ({"smtp-url": "smtp://localhost", "smtp-from": "a@b.c", "smtp-to": "a@b.c,x y"}, "--smtp-to"),
    ({"smtp-to": "a@b.c"}, "--smtp-url"),
    ({"smtp-url": "smtp://localhost", "smtp-from": "a@b.c", "smtp-login": "NOCOLON"}, "USER:PASSWORD")])
def test_wrong_options(tmp_path, secret_file, options, words):
    files = {"OPEN": lambda: secret_file("x", 0o644), "NOCOLON": lambda: secret_file("x")}
    command = [harness.BUILD / "drover", "server", "--data", tmp_path / "data", "--listen", "127.0.0.1:0"]
    for name, value in options.items():
        command += [f"--{name}", files[value]() if value in files else value]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and words in ended.stderr, ended.stderr
