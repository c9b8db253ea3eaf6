# SPDX-License-Identifier: Apache-2.0
import os

from celery import Celery

SAFE = os.environ["PEER"] == "celery"  # or the fastest that it can do
app = Celery("celery_app", broker=os.environ["AMQP_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=SAFE, task_default_delivery_mode="persistent", result_persistent=True,
    worker_prefetch_multiplier=4 if SAFE else 50, broker_transport_options={"confirm_publish": SAFE},
    task_ignore_result=False, broker_connection_retry_on_startup=True)


@app.task
def run(x):
    return x
