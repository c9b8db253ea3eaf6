# SPDX-License-Identifier: Apache-2.0
"""Draws requests from the server's own OpenAPI document: no 5xx, no status that the document does
not name, every answer of the form that it promises. DROVER_CONFORMANCE_EXAMPLES: requests for each
operation (default 25); everything is drawn from DROVER_TEST_SEED."""
import json
import os
import random
import subprocess

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi import checks

import harness

load_all_checks()
EXAMPLES = int(os.environ.get("DROVER_CONFORMANCE_EXAMPLES", "25"))
CHECKS = [not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
          checks.response_schema_conformance]


def operations():
    program = harness.BUILD / "drover"
    if not program.exists():
        return []
    return json.loads(subprocess.run([str(program), "routes"], check=True, capture_output=True).stdout)


ROUTES = operations()
NAMED = {"projectId": "project", "datasetId": "dataset", "itemId": "item", "serviceId": "service", "orgId": "org"}


@pytest.fixture(scope="session")
def schema(document, server):
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=server.url + document_base(document))
    return schema


def document_base(document):
    servers = document.get("servers") or [{"url": ""}]
    return "/" + servers[0]["url"].split("://")[-1].partition("/")[2] if "://" in servers[0]["url"] else servers[0]["url"]


def paths_of(document):
    """(path, method) of each operation, by its id."""
    return {operation["operationId"]: (path, method) for path, methods in document["paths"].items()
            for method, operation in methods.items() if isinstance(operation, dict) and "operationId" in operation}


def test_every_route_is_documented(document):
    documented = set(paths_of(document))
    missing = [route["operationId"] for route in ROUTES if route["operationId"] not in documented]
    assert not missing, missing


def test_the_document_is_valid(document):
    assert document["openapi"].startswith("3.")
    text = json.dumps(document)
    for name in set(part.split('"')[0] for part in text.split("#/components/schemas/")[1:]):
        assert name in document["components"]["schemas"], name


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route["operationId"])
def test_operation(schema, document, world, api, route):
    path, method = paths_of(document)[route["operationId"]]
    operation = schema[path][method]
    draw = random.Random(f"{harness.SEED} {route['operationId']}")

    @hypothesis.seed(harness.SEED)
    @hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[hypothesis.Phase.generate],
                         suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=operation.as_strategy())
    def run(case):
        name_real_things(case, route, world, draw)
        headers = {} if draw.random() < 0.05 else dict(api.session.headers)
        case.call_and_validate(headers=headers, checks=CHECKS, timeout=60)

    run()


def name_real_things(case, route, world, draw):
    """Most paths name what is there; but what deletes may only delete what is not."""
    if route["method"] != "DELETE" and draw.random() < 0.8:
        for name in case.path_parameters or {}:
            kind = NAMED.get(name) or (route["scope"] if name == "id" else None)
            if kind in world:
                case.path_parameters[name] = world[kind]
    if isinstance(case.body, dict):
        if route["scope"] == "body.projectId" and draw.random() < 0.8:
            case.body["projectId"] = world["project"]
        case.body.pop("follow", None)  # would hold each answer for seconds
