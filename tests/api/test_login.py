# SPDX-License-Identifier: Apache-2.0
"""Who may come in: API keys, tokens, passwords, refresh; and who may not."""
import base64
import concurrent.futures
import json
import time

import pytest
import requests

import harness

PASSWORD = "correct horse battery"


def jwt(header, payload, signature=b"x" * 32):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    return ".".join((part(json.dumps(header).encode()), part(json.dumps(payload).encode()), part(signature)))


@pytest.fixture
def restored(dl, admin_key):
    """dtlpy, logged in as the administrator again afterwards."""
    yield dl
    dl.client_api.token = admin_key
    dl.login_api_key(api_key=admin_key)


@pytest.fixture
def person(api, unique):
    email = unique("person") + "@example.org"
    api.post("/users", {"email": email, "password": PASSWORD, "firstName": "Ada", "lastName": "Lovelace"})
    return email


def login(api, email, password=PASSWORD):
    return api.post("/token?default", {"type": "user_credentials", "username": email, "password": password})


@pytest.mark.core
def test_api_key_of_the_first_start(restored, admin_key):
    restored.login_api_key(api_key=admin_key)
    assert restored.info()["user_email"] == "admin@localhost"


def test_login_token(restored, admin_key):
    restored.login_token(token=admin_key)
    assert restored.projects.list() is not None


def test_me(api):
    me = api.get("/users/me")
    assert me["id"] == me["email"] == "admin@localhost"
    assert me["org"]["id"] and me["org"]["name"]
    assert "password" not in json.dumps(me).lower()


def test_login_m2m(restored, person):
    assert restored.login_m2m(email=person, password=PASSWORD)
    assert restored.info()["user_email"] == person


def test_login_m2m_with_a_wrong_password(restored, person):
    restored.logout()
    assert restored.login_m2m(email=person, password="something else") is False


def test_first_password_works(api, server):
    password = (server.data / "admin-password").read_text().strip()
    assert login(api, "admin@localhost", password)["id_token"]


def test_secrets_are_private_files(server):
    for name in ("admin-key", "admin-password", "jwt-key"):
        assert (server.data / name).stat().st_mode & 0o777 == 0o600, name


def test_refresh(restored, api, person, server):
    """dtlpy's token has run out: it gets another by itself."""
    tokens = login(api, person)
    restored.client_api.token = jwt({"alg": "HS256"}, {"email": person, "exp": time.time() - 10})
    restored.client_api.refresh_token = tokens["refresh_token"]
    restored.projects.list()
    assert harness.Api(server, restored.client_api.token).get("/users/me")["email"] == person


def test_refresh_token_opens_nothing_else(api, server, person):
    tokens = login(api, person)
    harness.Api(server, tokens["refresh_token"]).bad(401, "GET", "/users/me")
    api.bad(401, "POST", "/token?default", {"type": "refresh_token", "refresh_token": tokens["id_token"]})


@pytest.mark.parametrize("token", [
    "nonsense", "a.b.c", "..", "x" * 100000,
    jwt({"alg": "none"}, {"sub": "admin@localhost", "email": "admin@localhost", "exp": time.time() + 9999}, b""),
    jwt({"alg": "HS256"}, {"sub": "admin@localhost", "email": "admin@localhost", "exp": time.time() + 9999}),
    jwt({"alg": "RS256"}, {"sub": "admin@localhost", "email": "admin@localhost", "exp": time.time() + 9999}),
], ids=["word", "dots", "empty", "long", "alg-none", "wrong-signature", "other-algorithm"])
def test_bad_tokens(server, token):
    answer = harness.Api(server, token).call("GET", "/users/me")
    assert answer.status_code in (401, 431), answer.text
    if answer.status_code == 401:
        assert answer.json()["message"]


def test_changed_token(server, admin_key):
    for at in (len(admin_key) // 4, len(admin_key) // 2, len(admin_key) - 5):
        other = "A" if admin_key[at] != "A" else "B"
        harness.Api(server, admin_key[:at] + other + admin_key[at + 1:]).bad(401, "GET", "/users/me")


def test_no_token(server):
    harness.Api(server, None).bad(401, "GET", "/users/me")
    answer = requests.get(server.url + "/api/v1/users/me", headers={"authorization": "Basic YTpi"}, timeout=10)
    assert answer.status_code == 401


def test_own_api_key(restored, api, server, person):
    assert restored.login_m2m(email=person, password=PASSWORD)
    key = restored.client_api.generate_api_key(description="for the night shift")
    mine = harness.Api(server, key)
    assert mine.get("/users/me")["email"] == person
    keys = mine.get("/apikeys")
    assert [one["description"] for one in keys] == ["for the night shift"]
    assert key not in json.dumps(keys)


def test_revoked_api_key(api, server, person):
    me = harness.Api(server, login(api, person)["id_token"])
    made = me.post("/apikeys", {"description": "short"})
    key = harness.Api(server, made["jwt"])
    assert key.get("/users/me")["email"] == person
    me.delete(f"/apikeys/{made['id']}")
    key.bad(401, "GET", "/users/me")
    me.bad(404, "GET", f"/apikeys/{'0' * 24}")


def test_anothers_api_key(api, server, person):
    me = harness.Api(server, login(api, person)["id_token"])
    admins = api.post("/apikeys", {"description": "the administrator's"})
    me.bad(404, "DELETE", f"/apikeys/{admins['id']}")
    me.bad(403, "POST", "/apikeys", {"userId": "admin@localhost"})
    api.delete(f"/apikeys/{admins['id']}")


def test_new_password_ends_logins(api, server, person):
    before = harness.Api(server, login(api, person)["id_token"])
    key = harness.Api(server, before.post("/apikeys", {})["jwt"])
    before.bad(400, "POST", "/users/me/password", {"oldPassword": "wrong", "newPassword": "a new long password"})
    before.bad(400, "POST", "/users/me/password", {"oldPassword": PASSWORD, "newPassword": "short"})
    after = before.post("/users/me/password", {"oldPassword": PASSWORD, "newPassword": "a new long password"})
    before.bad(401, "GET", "/users/me")
    key.get("/users/me")
    harness.Api(server, after["id_token"]).get("/users/me")
    api.bad(401, "POST", "/token", {"type": "user_credentials", "username": person, "password": PASSWORD})


@pytest.mark.parametrize("body", [
    {}, {"type": "user_credentials"}, {"type": "user_credentials", "username": "a@b.c"}, {"type": 5},
    {"type": "user_credentials", "username": 5, "password": []}, {"type": "magic"}, {"type": "refresh_token"},
])
def test_malformed_login(api, body):
    api.bad(400, "POST", "/token?default", body)


def test_users_are_made_by_administrators(api, people, project, person):
    people("developer", project.id).bad(403, "POST", "/users", {"email": "x@example.org"})
    api.bad(409, "POST", "/users", {"email": person, "password": PASSWORD})
    error = api.bad(400, "POST", "/users", {"email": "no address"})
    assert error["field"] == "email"
    made = api.post("/users", {"email": person.replace("person", "other")})
    assert login(api, made["email"], made["password"])["id_token"]


def test_login_rate(own_server):
    server, api = own_server(login_tries="5")
    body = {"type": "user_credentials", "username": "admin@localhost", "password": "guess"}
    statuses = [api.call("POST", "/token?default", body).status_code for _ in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    answer = api.call("POST", "/token?default", body)
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    # Not even the right password, else guessing would go on.
    body["password"] = (server.data / "admin-password").read_text().strip()
    assert api.call("POST", "/token?default", body).status_code == 429
    assert api.get("/users/me")["email"] == "admin@localhost"


def from_address(server, address):
    """An API whose connections come from that loopback address."""
    class Bound(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, source_address=(address, 0), **kwargs)
    api = harness.Api(server, None)
    api.session.mount("http://", Bound())
    return api


def test_a_blocked_address_locks_nobody_out(own_server):
    server, _ = own_server(login_tries="5")
    password = (server.data / "admin-password").read_text().strip()
    guesser = from_address(server, "127.0.0.5")
    for number in range(5):
        guesser.bad(401, "POST", "/token", {"type": "user_credentials", "username": f"u{number}@x.y", "password": "guess"})
    body = {"type": "user_credentials", "username": "admin@localhost", "password": "guess"}
    for _ in range(10):
        assert "from this address" in guesser.bad(429, "POST", "/token", body)["message"]
    assert from_address(server, "127.0.0.6").post("/token", dict(body, password=password))["id_token"]


def test_good_logins_at_once(own_server):
    server, _ = own_server(login_tries="5")
    password = (server.data / "admin-password").read_text().strip()
    body = {"type": "user_credentials", "username": "admin@localhost", "password": password}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: harness.Api(server, None).call("POST", "/token", body).status_code, range(20)))
    assert answers == [200] * 20
    body["password"] = "guess"
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: harness.Api(server, None).call("POST", "/token", body).status_code, range(20)))
    assert sorted(answers) == [401] * 5 + [429] * 15


def test_data_folder_is_used_by_one_server(own_server, tmp_path):
    server, _ = own_server()
    second = harness.Server(tmp_path / "second")
    second.data = server.data
    with pytest.raises(AssertionError, match="ended with 1") as failure:
        second.start()
    assert "another server" in str(failure.value)
