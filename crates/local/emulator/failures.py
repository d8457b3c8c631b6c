"""How AWS tells a state machine that a function failed, and what its catchers may catch.

MiniStack names a time-out plainly and in JSON. Lambda has no error type for it, so that Step
Functions says ``Lambda.Unknown`` with a sentence for a cause. A function that was killed or
crashed is ``Runtime.ExitError``. ``States.ALL`` catches neither ``States.DataLimitExceeded`` nor
``States.Runtime`` (Developer Guide, "Handling errors in Step Functions workflows").

Faults on demand (``faults.py``) may strike an invocation: the operation is ``lambda:Invoke``, and
it is about the function's name and the payload.

    {"die": "unknown"}    time-out as most runtimes report it, before the function did anything
    {"die": "timed_out"}  time-out with an error type
    {"die": "killed"}     out of memory
    {"die": "unanswered"} Step Functions waits for longer than the task may take: no cause at all
    "lose"                as "unknown", after the function did it all
"""

import datetime
import json
import uuid

_MOST = 256 * 1024


def patch():
    """Put AWS's ways in place of the emulator's."""
    import faults
    from ministack.services import stepfunctions

    call, matches, execute = stepfunctions._call_lambda, stepfunctions._error_matches, stepfunctions._execute_task
    failed = stepfunctions._ExecutionError

    def call_lambda(function, event):
        name = function.split(":function:")[-1].split(":")[0]
        effect = faults.strike("lambda:Invoke", f"{name} {json.dumps(event)}")
        kind, detail = next(iter(effect.items())) if isinstance(effect, dict) else (effect, None)
        if kind == "die":
            raise failed(*_death(detail))
        try:
            result = call(function, event)
        except failed as error:
            raise failed(*_as_aws(error.error, error.cause)) from None
        if kind == "lose":
            raise failed(*_death("unknown"))
        return result

    def error_matches(error_equals, error):
        terminal = error in ("States.DataLimitExceeded", "States.Runtime") and error not in error_equals
        return not terminal and matches(error_equals, error)

    def execute_task(state, given, execution, context):
        output, following = execute(state, given, execution, context)
        if len(json.dumps(output, ensure_ascii=False).encode()) > _MOST:
            raise failed("States.DataLimitExceeded",
                         "The state/task returned a result with a size exceeding the maximum number of bytes service limit.")
        return output, following

    stepfunctions._call_lambda = call_lambda
    stepfunctions._error_matches = error_matches
    stepfunctions._execute_task = execute_task


def _as_aws(error, cause):
    """The error and cause in AWS's words, of the emulator's."""
    try:
        said = json.loads(cause)["errorMessage"]
    except (ValueError, TypeError, KeyError):
        said = cause
    if error == "Sandbox.Timedout":
        return _unknown(said)
    if error in ("Runtime.ExitError", "Runtime.Unknown"):
        return _exited(said)
    if error == "TooManyRequestsException":
        return "Lambda.TooManyRequestsException", said
    return error, cause


def _death(how):
    if how == "unknown":
        return _unknown("Task timed out after 60.15 seconds")
    if how == "timed_out":
        return "Sandbox.Timedout", json.dumps({
            "errorType": "Sandbox.Timedout",
            "errorMessage": f"RequestId: {uuid.uuid4()} Error: Task timed out after 60.15 seconds"})
    if how == "killed":
        return _exited("Runtime exited with error: signal: killed")
    if how == "unanswered":
        return "States.Timeout", ""
    raise ValueError(f"unknown death {how!r}")


def _unknown(said):
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    payload = json.dumps({"errorMessage": f"{moment} {uuid.uuid4()} {said}"}, separators=(",", ":"))
    return "Lambda.Unknown", (
        "The cause could not be determined because Lambda did not return an error type. "
        f"Returned payload: {payload}")


def _exited(said):
    return "Runtime.ExitError", json.dumps({
        "errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {uuid.uuid4()} Error: {said}"})
