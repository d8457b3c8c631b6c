"""State machines as Step Functions runs them, where the pinned MiniStack release does not.

A machine's role must allow what its tasks call, and the executions of a
Distributed Map are what AWS makes them: of a Map Run of their own, with no
variable of the execution that started them, fed from the objects of a bucket,
bounded in number, and with answers of 256 KB together. What the Map of AWS
offers besides (batches, results in a bucket) is refused. How long a Wait takes is
shortened; until when one waits is not: the functions know that moment by clocks of
their own.
"""

import contextvars
import copy
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as all_of
from datetime import datetime, timezone

_STATE_BYTES = 256 * 1024
_EXPRESS_SECONDS = 300
# Who runs the task at hand: the ARN of its machine's role.
_role = contextvars.ContextVar("role", default=None)


def patch():
    """Put this in the place of MiniStack's own."""
    from ministack.services import stepfunctions

    execute_task, invoke = stepfunctions._execute_task, stepfunctions._invoke_resource

    def execute_as_role(state, raw_input, execution, ctx):
        # A state that is only tried out (TestState) is of no machine.
        machine = stepfunctions._state_machines.get((execution or {}).get("stateMachineArn", "").split("/")[0])
        token = _role.set(machine["roleArn"] if machine else None)
        try:
            return execute_task(state, raw_input, execution, ctx)
        finally:
            _role.reset(token)

    def invoke_if_allowed(resource, arguments):
        _check_task(_role.get(), resource, arguments)
        return invoke(resource, arguments)

    stepfunctions._execute_task = execute_as_role
    stepfunctions._invoke_resource = invoke_if_allowed
    stepfunctions._run_distributed_map = _run_distributed_map
    stepfunctions._sleep_until = _sleep_until


def _sleep_until(moment):
    remaining = datetime.fromisoformat(moment.replace("Z", "+00:00")) - datetime.now(timezone.utc)
    time.sleep(max(0, remaining.total_seconds()))


# ---------------------------------------------------------------------------
# What a machine's role allows
# ---------------------------------------------------------------------------

def _may(role_arn, action, resource, **context):
    """Why the role may not do this, as AWS says it; nothing if it may."""
    import authority
    from ministack.core.responses import get_account_id

    if authority.role_allows(role_arn, "states.amazonaws.com", action, resource, get_account_id(), context):
        return None
    role = role_arn.rsplit("/", 1)[-1]
    return (f"User: arn:aws:sts::{get_account_id()}:assumed-role/{role}/execution is not authorized to perform: "
            f"{action} on resource: {resource} because no identity-based policy allows the {action} action")


def _check_task(role_arn, resource, arguments):
    import faults
    from ministack.core.responses import get_account_id, get_region
    from ministack.services.stepfunctions import _ExecutionError

    def arn(service, name):
        return name if name.startswith("arn:") else f"arn:aws:{service}:{get_region()}:{get_account_id()}:{name}"

    if role_arn is None or not isinstance(arguments, dict):
        return
    checks, error = [], "States.Permissions"
    if "states:::lambda:invoke" in resource:
        name = str(arguments.get("FunctionName", ""))
        checks, error = [("lambda:InvokeFunction", name if ":" in name else arn("lambda", f"function:{name}"), {})], "Lambda.AWSLambdaException"
    elif "states:::events:putEvents" in resource:
        buses = {entry.get("EventBusName", "default") for entry in arguments.get("Entries", [])}
        checks = [("events:PutEvents", bus if ":" in bus else arn("events", f"event-bus/{bus}"), {}) for bus in buses]
    elif "states:::states:startExecution" in resource:
        checks = [("states:StartExecution", arguments.get("StateMachineArn", ""), {})]
    elif resource.endswith("states:::aws-sdk:cloudwatch:putMetricData"):
        namespace = {"cloudwatch:namespace": str(arguments.get("Namespace", ""))}
        checks, error = [("cloudwatch:PutMetricData", "*", namespace)], "CloudWatch.CloudWatchException"
    elif "states:::aws-sdk:" in resource:
        # Nobody has told what a role must allow for it.
        raise _ExecutionError("States.Runtime", f"{resource} is not offered by the local cloud")
    for action, what, context in checks:
        refusal = _may(role_arn, action, what, **context)
        if refusal:
            raise _ExecutionError(error, refusal)
    # On demand, an event is not taken (Step Functions Developer Guide, "Add EventBridge events": EventBridge.FailedEntry).
    if "states:::events:putEvents" in resource and (effect := faults.strike("events:PutEvents", json.dumps(arguments))):
        raise _ExecutionError("EventBridge.FailedEntry", effect["fail"]["message"])


# ---------------------------------------------------------------------------
# Distributed Map
# ---------------------------------------------------------------------------

def _run_distributed_map(state, raw_input, effective, processor, execution, ctx):
    from ministack.core.responses import new_uuid, now_iso
    from ministack.services import stepfunctions
    from ministack.services.stepfunctions import _ExecutionError

    jsonata = stepfunctions._state_query_language(state, ctx) == "JSONata"

    def value_of(template, context):
        if jsonata:
            return stepfunctions._apply_jsonata_template(template, raw_input, context)
        return stepfunctions._resolve_params_obj(template, effective, context)

    def number(field, default):
        return value_of(state[field], ctx) if jsonata and field in state else state.get(field, default)

    for unknown in {"ItemBatcher", "ResultWriter"} & set(state):
        raise _ExecutionError("States.Runtime", f"{unknown} is not offered by the local cloud")
    machine_arn = execution["stateMachineArn"]
    role_arn = stepfunctions._state_machines[machine_arn]["roleArn"]
    refusal = _may(role_arn, "states:StartExecution", machine_arn)
    if refusal:
        raise _ExecutionError("States.Permissions", refusal)
    items = _items(state, raw_input, effective, ctx, role_arn, value_of)
    express = processor["ProcessorConfig"]["ExecutionType"] == "EXPRESS"
    label = state.get("Label") or new_uuid()
    prefix, name = machine_arn.rsplit(":", 1)
    prefix = prefix.removesuffix(":stateMachine")
    counts = dict.fromkeys(["running", "succeeded", "failed", "timedOut", "aborted", "resultsWritten",
                            "failuresNotRedrivable", "pendingRedrive"], 0)
    counts.update(pending=len(items), total=len(items))
    run = {
        "mapRunArn": f"{prefix}:mapRun:{name}/{label}:{new_uuid()}", "executionArn": execution["executionArn"],
        "status": "RUNNING", "startDate": now_iso(), "maxConcurrency": int(number("MaxConcurrency", 0)),
        "toleratedFailurePercentage": float(number("ToleratedFailurePercentage", 0)),
        "toleratedFailureCount": int(number("ToleratedFailureCount", 0)),
        "itemCounts": counts, "executionCounts": counts, "redriveCount": 0, "_stateMachineArn": f"{machine_arn}/{label}",
    }
    stepfunctions._map_runs[run["mapRunArn"]] = run
    stepfunctions._add_event(execution, "MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": run["mapRunArn"]}})
    lock, results = threading.Lock(), [None] * len(items)

    def too_many_failed():
        failed = counts["failed"] + counts["timedOut"]
        limits = []
        if "ToleratedFailureCount" in state:
            limits.append(failed > run["toleratedFailureCount"])
        if "ToleratedFailurePercentage" in state:
            limits.append(failed * 100 > run["toleratedFailurePercentage"] * len(items))
        return any(limits) if limits else failed > 0

    def run_child(index, item):
        with lock:
            counts["pending"] -= 1
            # What has not begun does not begin any more.
            if execution["status"] != "RUNNING" or too_many_failed():
                counts["aborted"] += 1
                return
            counts["running"] += 1
        outcome = "failed"
        try:
            outcome = _run_child(index, item)
        finally:
            with lock:
                counts["running"] -= 1
                counts[outcome] += 1

    def _run_child(index, item):
        selected = {**ctx, "Map": {"Item": {"Index": index, "Value": item}}}
        selector = state.get("ItemSelector")
        given = copy.deepcopy(value_of(selector, selected) if selector else item)
        child_name, started = new_uuid(), now_iso()
        child = {
            "executionArn": f"{prefix}:execution:{name}/{label}:{child_name}", "stateMachineArn": f"{machine_arn}/{label}",
            "name": child_name, "status": "RUNNING", "startDate": started, "stopDate": None, "input": json.dumps(given),
            "inputDetails": {"included": True}, "output": None, "outputDetails": {"included": True},
            "mapRunArn": run["mapRunArn"], "events": [], "mockAttempts": {},
        }
        # Nobody can look at an express execution.
        if not express:
            stepfunctions._executions[child["executionArn"]] = child
        stepfunctions._add_event(child, "ExecutionStarted", {"executionStartedEventDetails": {"input": child["input"]}})
        own = {"QueryLanguage": ctx["QueryLanguage"], "StateMachine": ctx["StateMachine"], "variables": {},
               "Execution": {"Id": child["executionArn"], "Name": child_name, "Input": given, "StartTime": started}}
        began = time.monotonic()
        try:
            results[index] = stepfunctions._run_sub_machine(processor["States"], processor["StartAt"], given, child, own)
            if express and time.monotonic() - began > _EXPRESS_SECONDS:
                raise _ExecutionError("States.Timeout", "")
            child.update(status="SUCCEEDED", output=json.dumps(results[index]), stopDate=now_iso())
            stepfunctions._add_event(child, "ExecutionSucceeded", {"executionSucceededEventDetails": {"output": child["output"]}})
            return "succeeded"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this child's
            results[index] = None
            known = error if isinstance(error, _ExecutionError) else _ExecutionError("States.Runtime", str(error))
            child.update(status="FAILED", error=known.error, cause=known.cause, stopDate=now_iso())
            stepfunctions._add_event(child, "ExecutionFailed", {"executionFailedEventDetails": {"error": known.error, "cause": known.cause}})
            return "timedOut" if known.error == "States.Timeout" else "failed"

    with ThreadPoolExecutor(max_workers=run["maxConcurrency"] or 64) as pool:
        all_of([pool.submit(contextvars.copy_context().run, run_child, *each) for each in enumerate(items)])
    run["stopDate"] = now_iso()
    if too_many_failed():
        run["status"] = "FAILED"
        stepfunctions._add_event(execution, "MapRunFailed")
        raise _ExecutionError("States.ExceedToleratedFailureThreshold",
                              "The specified tolerated failure threshold was exceeded")
    run["status"] = "ABORTED" if counts["aborted"] else "SUCCEEDED"
    stepfunctions._add_event(execution, "MapRunSucceeded")
    # What AWS puts in the place of a child that failed and is tolerated, no document says (doubt failed-children):
    # nothing, as here, or the description of its execution.
    result = [result for result in results if result is not None]
    if len(json.dumps(result, separators=(",", ":"))) > _STATE_BYTES:
        raise _ExecutionError("States.DataLimitExceeded",
                              "The state/task 'Map' returned a result with a size exceeding the maximum number of bytes service limit.")
    if jsonata:
        output = stepfunctions._apply_jsonata_output(state, raw_input, ctx, result=result, default=result)
        stepfunctions._apply_state_assign(state, raw_input, ctx, result=result)
        return output, stepfunctions._next_or_end(state)
    output = stepfunctions._apply_result_path(state, raw_input, stepfunctions._apply_result_selector(state, result))
    return stepfunctions._apply_output_path(state, output, ctx), stepfunctions._next_or_end(state)


def _items(state, raw_input, effective, ctx, role_arn, value_of):
    """The items of a Map: those of its input, or the objects of a bucket."""
    from ministack.services import stepfunctions
    from ministack.services.stepfunctions import _ExecutionError

    reader = state.get("ItemReader")
    if reader is None:
        if "Items" in state:
            return stepfunctions._jsonata_state_field(state, "Items", "array", raw_input, ctx)
        found = stepfunctions._resolve_path_or_ctx(state.get("ItemsPath", "$"), effective, ctx)
        return found if isinstance(found, list) else [found]
    asked = value_of(reader.get("Arguments") or reader.get("Parameters") or {}, ctx)
    bucket, of = asked.get("Bucket", ""), f"arn:aws:s3:::{asked.get('Bucket', '')}"
    if reader["Resource"].endswith("s3:listObjectsV2"):
        refusal = _may(role_arn, "s3:ListBucket", of, **{"s3:prefix": asked.get("Prefix", "")})
    else:
        refusal = _may(role_arn, "s3:GetObject", f"{of}/{asked.get('Key', '')}")
    if refusal:
        raise _ExecutionError("States.ItemReaderFailed", refusal)
    # MiniStack resolves JSONPath; what JSONata made of the arguments is none.
    config = {"Resource": reader["Resource"], "Parameters": asked, "ReaderConfig": reader.get("ReaderConfig") or {}}
    return stepfunctions._read_map_items(config, effective, ctx)
