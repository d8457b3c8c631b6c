"""What ``failures.py`` makes of functions that fail, with the emulator's own way to run them. Run by an end-to-end test."""

import io
import json
import os
import re
import sys
import zipfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import failures  # noqa: E402
from ministack.services import lambda_svc, stepfunctions  # noqa: E402

TAKES_ITS_EVENT = f"""#!{sys.executable}
import json, os, sys, time, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
with urllib.request.urlopen(api + "next") as event:
    request_id = event.headers["Lambda-Runtime-Aws-Request-Id"]
"""


def outcome(then, timeout=1):
    """The error and cause in Step Functions' eyes of a function that does this with its event."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, TAKES_ITS_EVENT + then)
    name = f"f{abs(hash(then))}"
    config = {"FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": timeout,
              "MemorySize": 128, "Version": "$LATEST",
              "FunctionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}"}
    function = {"config": config, "code_zip": packed.getvalue()}
    lambda_svc._get_func_record_for_ref = lambda _reference: (function, config, name)
    try:
        return None, stepfunctions._call_lambda(config["FunctionArn"], {})
    except stepfunctions._ExecutionError as error:
        return error.error, error.cause


failures.patch()

# The time limit: no error type, so that the cause is a sentence around the payload.
error, cause = outcome("time.sleep(60)")
said = re.fullmatch(
    r"The cause could not be determined because Lambda did not return an error type\. Returned payload: (.*)", cause)
assert error == "Lambda.Unknown" and said, (error, cause)
assert re.fullmatch(r"\S+Z \S+ Task timed out after 1\.00 seconds", json.loads(said[1])["errorMessage"]), cause

# Killed, as for want of memory, and ended by itself.
for end in ["os.kill(os.getpid(), 9)", "sys.exit(1)"]:
    error, cause = outcome(end, timeout=20)
    said = json.loads(cause)
    assert error == said["errorType"] == "Runtime.ExitError", (error, cause)
    assert said["errorMessage"].startswith("RequestId: "), cause

# A handler's own error stays as it is.
error, cause = outcome("""
body = json.dumps({"errorType": "DataUnfit", "errorMessage": "no rows"}).encode()
urllib.request.urlopen(urllib.request.Request(api + request_id + "/error", body, method="POST"))
time.sleep(5)
""", timeout=20)
assert (error, json.loads(cause)) == ("DataUnfit", {"errorType": "DataUnfit", "errorMessage": "no rows"}), (error, cause)

# What States.ALL does not catch.
for terminal in ["States.DataLimitExceeded", "States.Runtime"]:
    assert not stepfunctions._error_matches(["States.ALL"], terminal)
    assert stepfunctions._error_matches([terminal], terminal)
assert stepfunctions._error_matches(["States.ALL"], "Lambda.Unknown")
