# SPDX-License-Identifier: Apache-2.0
"""A server that is killed between a notification and its delivery: it is there once, and arrives."""
import threading

import harness
import receivers

CODE = "class ServiceRunner:\n    def run(self):\n        pass\n"


def prepared(server, tmp_path, port):
    """The server with a webhook at the port, its API, and a service to tell of."""
    secret = tmp_path / "secret"
    secret.write_text("s")
    secret.chmod(0o600)
    server.options.update({"notify-webhook": f"http://127.0.0.1:{port}/", "notify-secret": str(secret)})
    server.restart()
    api = harness.Api(server, (server.data / "admin-key").read_text().strip())
    project = api.post("/projects", {"name": "told"})["id"]
    return api, harness.deploy_plain(api, project, "teller", CODE, {"run": {}}, active=False)["id"]


def tell(api, service, number):
    api.post(f"/services/{service}/notify", {"action": "created", "notificationName": f"Kind{number}", "message": "x"})


def delivered(api, number):
    def check():
        one, = api.get("/notifications", params={"type": f"Kind{number}"})["items"]
        way, = api.get(f"/notifications/{one['id']}/deliveries")["items"]
        return way["id"] if way["state"] == "delivered" else None
    return harness.wait_for(f"notification {number} is delivered", check, 90)


def test_killed_before_it_arrives(server, tmp_path, kills):
    port = harness.free_port()  # nobody listens there yet
    api, service = prepared(server, tmp_path, port)
    for number in range(kills):
        tell(api, service, number)
        server.kill()
        server.start()
    with receivers.Webhook(port=port) as hook:
        keys = [delivered(api, number) for number in range(kills)]
    assert sorted(headers["idempotency-key"] for _, headers, _ in hook.got) == sorted(keys)
    print(f"\n    raised {kills}, killed {kills} times, delivered {len(hook.got)}, lost 0, twice 0")


def test_killed_while_it_arrives(server, tmp_path, kills):
    port = harness.free_port()
    api, service = prepared(server, tmp_path, port)
    with receivers.Webhook(port=port) as hook:
        for number in range(kills):
            never = threading.Event()
            hook.answers.append(never)
            seen = len(hook.got)
            tell(api, service, number)
            harness.wait_for("it was posted", lambda: len(hook.got) > seen)
            server.kill()
            never.set()
            server.start()
            key = delivered(api, number)
            assert [headers["idempotency-key"] for _, headers, _ in hook.got[seen:]] == [key, key], "again, under the same key"
    assert api.get("/notifications")["totalItemsCount"] == kills
