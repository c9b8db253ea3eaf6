# SPDX-License-Identifier: Apache-2.0
"""Executes functions through dtlpy as a user's script does. Prints figures as JSON on the last line.

dtlpy_client.py URL TOKEN PROJECT SERVICE PAUSED-SERVICE COUNT"""
import io
import json
import logging
import sys
import time

import dtlpy as dl


def main():
    url, token, project_id, service_id, paused_id, count = *sys.argv[1:6], int(sys.argv[6])
    logging.disable(logging.WARNING)
    dl.client_api.add_environment(environment=url + "/api/v1", alias="bench", gate_url=url, verify_ssl=False, url=url + "/")
    dl.setenv("bench")
    dl.login_api_key(api_key=token)
    dl.verbose.disable_progress_bar = True
    project = dl.projects.get(project_id=project_id)
    service = project.services.get(service_id=service_id)
    service.execute(execution_input={"n": 0}, function_name="run", project_id=project_id).wait()
    start, cpu = time.monotonic(), time.process_time()
    executions = [service.execute(execution_input={"n": n}, function_name="run", project_id=project_id) for n in range(count)]
    enqueued = time.monotonic() - start
    executions[-1].wait()
    took = time.monotonic() - start
    found = {"executions/s": count / took, "accepted/s": count / enqueued,
             "client CPU us/execution": (time.process_time() - cpu) * 1e6 / count}

    dataset = project.datasets.create(dataset_name="bench")
    for number in range(count):
        dataset.items.upload(local_path=io.BytesIO(b"x"), remote_name=f"{number}.txt", remote_path="/in")
    paused = project.services.get(service_id=paused_id)
    start = time.monotonic()
    items = dl.Filters(field="dir", values="/in", context={"datasets": [dataset.id]})
    paused.execute_batch(filters=items, function_name="see")
    found["accepted/s by execute_batch"] = count / (time.monotonic() - start)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
