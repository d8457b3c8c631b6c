"""No more functions are at work than ``doors.few_processes`` was told, and idle ones make room. Run by a test of the
crate, with the emulator's own Python."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import doors  # noqa: E402
from ministack.core import lambda_runtime  # noqa: E402
from ministack.services import lambda_svc  # noqa: E402

reaped = []
lambda_runtime.reap_idle_workers = reaped.append
lambda_runtime.acquire_worker = lambda_svc.acquire_worker = lambda function: f"a worker of {function}"
doors.few_processes(3)

config = {"FunctionName": "f", "FunctionArn": "arn:aws:lambda:us-east-1:111111111111:function:f"}
refused = [lambda_svc._acquire_execution_slot({}, config)[1] for _ in range(4)]
assert refused == [None, None, None, "account"], refused

for workers, reaps in [({"f": [1], "g": [2]}, []), ({"f": [1, 2], "g": [3]}, [0])]:
    lambda_runtime._workers = workers
    assert lambda_svc.acquire_worker("f") == "a worker of f" and reaped == reaps, (workers, reaped)
