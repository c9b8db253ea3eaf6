# SPDX-License-Identifier: Apache-2.0
"""A server, and one of each thing in it that a path can name."""
import pytest

import harness


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = harness.Server(tmp_path_factory.mktemp("conformance"), login_tries="100000", max_wait="1s").start()
    yield server
    problems = server.close() + server.complaints()
    assert not problems, "\n".join(problems[:50])


@pytest.fixture(scope="session")
def api(server):
    return harness.Api(server, (server.data / "admin-key").read_text().strip())


@pytest.fixture(scope="session")
def document(api):
    return api.get("/openapi.json")


@pytest.fixture(scope="session")
def world(api):
    project = api.post("/projects", {"name": "conformance"})
    service = harness.deploy_plain(api, project["id"], "target", "class ServiceRunner:\n    def run(self, value):\n"
                                   "        return value\n", {"run": {"value": "Json"}}, active=False)
    dataset = api.post("/datasets", {"name": "target", "projectId": project["id"]})
    item = harness.upload(api, dataset["id"], "/target.txt", b"x").json()
    execution = api.execute(service["id"], "run", {"value": 1})
    return {"project": project["id"], "dataset": dataset["id"], "item": item["id"], "service": service["id"],
            "package": service["packageId"], "execution": execution["id"], "org": project["org"]["id"]}
