"""Starts MiniStack as the general AWS of the local cloud.

    python launch.py        settings come from MiniStack's own environment variables
                            and CROSSPILOT_AUTHORITY_TOKEN

It lives as long as its standard input stays open: whoever started it holds the
other end, so that it ends with its owner, even one that was killed. With it end
the functions' processes, which share its process group. If its state is kept
(PERSIST_STATE=1), it is saved before.

Who may ask it anything at all is decided in ``doors.py``.

It also fills gaps of the pinned MiniStack release, each as AWS does it: how
principals are kept and compared (``principals.py``), what owners of buckets and
buses may demand of requests (``resources.py``), the roles of state machines and
Distributed Maps (``machines.py``), an event bus as target in another account, the
context attributes of EventBridge Scheduler, the roles of rules and schedules,
which must allow what they do, IAM groups and access keys in CloudFormation, and
alarms that watch the metric of their own dimensions only.
``queues.py`` fills those of queues that functions read, ``concurrency.py`` those of
concurrency that is reserved for functions.
"""

import functools
import json
import os
import re
import signal
import socketserver
import sys
import threading
import time
import types
from datetime import datetime, timezone
from urllib.parse import quote_plus

# Saving takes well under a second; whoever started this waits a little longer.
_SAVING_SECONDS = 20


def main():
    threading.Thread(target=_end_with_owner, daemon=True).start()
    # What is kept holds keys: it is its owner's only.
    os.umask(0o077)

    import authority
    import concurrency
    import doors
    import failures
    import machines
    import principals
    import queues
    import resources

    functions = doors.within_limits(os.path.join(os.path.dirname(os.path.abspath(__file__)), "emulator.log"))
    from ministack import app

    # MiniStack's Runtime API writes headers and body apart: with Nagle's
    # algorithm each waits 40 ms for the acknowledgement of the other.
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    principals.patch()
    resources.patch()
    machines.patch()
    concurrency.patch()
    _deliver_across_accounts()
    queues.install()
    _provision_identities()
    _watch_own_dimensions()
    _encode_keys_as_s3_does()
    _match_every_character()
    failures.patch()
    doors.no_service_is_a_root()
    doors.private_runtime_apis()
    doors.judge_tokens()
    doors.few_processes(functions)
    doors.connections_end_with_their_clients()
    token = os.environ.pop("CROSSPILOT_AUTHORITY_TOKEN")
    gated = doors.wrap(authority.wrap(app.app, token), token)
    app.app = _over_secure_transport(gated)
    sys.argv = sys.argv[:1]
    try:
        app.main()
    finally:
        _end()


def _end_with_owner():
    while sys.stdin.buffer.read(4096):
        pass
    if os.environ.get("PERSIST_STATE") == "1":
        # MiniStack saves on its way out; main() ends the rest.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_SAVING_SECONDS)
    _end()


def _end():
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _over_secure_transport(app):
    """Loopback stands for TLS here: policies that demand it see it."""

    async def secured(scope, receive, send):
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], (b"x-forwarded-proto", b"https")]}
        await app(scope, receive, send)

    return secured


def _deliver_across_accounts():
    import authority
    from ministack.core import iam_evaluator, responses
    from ministack.services import eventbridge, scheduler  # noqa: F401

    deliver_here = eventbridge._dispatch_to_event_bus
    invoke = eventbridge._invoke_target
    put_events = eventbridge._put_events

    def admits(bus_name, bus_arn, account, event):
        """Whether the bus's own policy lets this account put this event."""
        policy = eventbridge._event_bus_policies.get(bus_name) or {}
        asked = iam_evaluator.EvalContext(
            principal_arn=f"arn:aws:iam::{account}:root", principal_type="Root", principal_account=account,
            action="events:PutEvents", resource_arn=bus_arn, region=responses.get_region(),
            service_context={"events:source": event.get("Source"), "events:detail-type": event.get("DetailType")})
        statements = [
            {**statement, "Principal": {"AWS": statement["Principal"]}}
            if isinstance(statement.get("Principal"), str) and statement["Principal"] != "*" else statement
            for statement in policy.get("Statement", [])
        ]
        return iam_evaluator.evaluate_trust_policy({"Statement": statements}, asked.principal_arn, asked)

    def to_event_bus(spec, event, rule, event_path, target_input_payload=None):
        sender = responses.get_account_id()
        if spec.account_id == sender or spec.region != responses.get_region():
            return deliver_here(spec, event, rule, event_path, target_input_payload)
        name, arn = spec.resource.split("/", 1)[1], str(spec)
        responses.set_request_account_id(spec.account_id)
        try:
            if name not in eventbridge._event_buses:
                eventbridge.logger.warning("event bus %s does not exist", arn)
            elif not admits(name, arn, sender, event):
                eventbridge.logger.warning("event bus %s does not admit account %s", arn, sender)
            else:
                # The event keeps the account it came from.
                eventbridge._dispatch_event({**event, "EventBusName": name})
        finally:
            responses.set_request_account_id(sender)

    def put(data, allow_aws_source=False):
        """A bus of another account may be named, by its ARN, if its policy admits that."""
        sender, entries = responses.get_account_id(), []
        for entry in data.get("Entries", []):
            arn = entry.get("EventBusName") or ""
            account = arn.split(":")[4] if arn.count(":") == 5 else sender
            if account == sender or str(entry.get("Source")).startswith("aws."):
                # Whatever the bus, a reserved source is refused below.
                entries.append(entry if account == sender else {**entry, "EventBusName": "default"})
                continue
            responses.set_request_account_id(account)
            try:
                admitted = admits(arn.split("/", 1)[-1], arn, sender, entry)
            finally:
                responses.set_request_account_id(sender)
            if not admitted:
                return responses.error_response_json("AccessDeniedException", (
                    f"User: arn:aws:iam::{sender}:root is not authorized to perform: events:PutEvents on resource: "
                    f"{arn} because no resource-based policy allows the events:PutEvents action"), 400)
            entries.append(entry)
        return put_events({**data, "Entries": entries}, allow_aws_source)

    def invoke_target(target, event, rule, view=None):
        scheduled = event.get("Source") == "aws.scheduler"
        arn, account = target.get("Arn", ""), responses.get_account_id()
        if scheduled and "Input" in target:
            target = {**target, "Input": _with_context(target["Input"], rule, event)}
        action = {"states": "states:StartExecution", "events": "events:PutEvents"}.get(arn.split(":")[2])
        if action:
            service = "scheduler.amazonaws.com" if scheduled else "events.amazonaws.com"
            if not authority.role_allows(target.get("RoleArn") or ":::::", service, action, arn, account):
                eventbridge.logger.warning("%s: role %s may not %s on %s", service, target.get("RoleArn"), action, arn)
                return
        invoke(target, event, rule, view)

    eventbridge._dispatch_to_event_bus = to_event_bus
    eventbridge._invoke_target = invoke_target
    eventbridge._put_events = put


def _provision_identities():
    from ministack.services import iam
    from ministack.services.cloudformation import provisioners

    def call(operation, parameters):
        status, _headers, body = operation(parameters)
        if status >= 400:
            raise ValueError(f"{operation.__name__}: {body!r}")

    def create_group(logical_id, properties, stack_name):
        name = properties.get("GroupName") or f"{stack_name}-{logical_id}"
        call(iam._create_group, {"GroupName": name, "Path": properties.get("Path", "/")})
        for policy in properties.get("Policies") or []:
            call(iam._put_group_policy, {
                "GroupName": name, "PolicyName": policy["PolicyName"],
                "PolicyDocument": json.dumps(policy["PolicyDocument"])})
        for arn in properties.get("ManagedPolicyArns") or []:
            call(iam._attach_group_policy, {"GroupName": name, "PolicyArn": arn})
        return name, {"Arn": iam._groups[name]["Arn"]}

    def delete_group(physical_id, _properties):
        iam._groups.pop(physical_id, None)
        iam._group_inline_policies.pop(physical_id, None)

    def create_key(_logical_id, properties, _stack_name):
        before = {key for key, _ in iam._access_keys.items()}
        call(iam._create_access_key, {"UserName": properties["UserName"]})
        key, record = next((k, r) for k, r in iam._access_keys.items() if k not in before)
        return key, {"SecretAccessKey": record["SecretAccessKey"]}

    def delete_key(physical_id, _properties):
        iam._access_keys.pop(physical_id, None)

    handlers = provisioners._RESOURCE_HANDLERS
    handlers["AWS::IAM::Group"] = {"create": create_group, "delete": delete_group}
    handlers["AWS::IAM::AccessKey"] = {"create": create_key, "delete": delete_key}


def _watch_own_dimensions():
    from ministack.services import cloudwatch

    evaluate = cloudwatch._evaluate_alarm

    def evaluate_own(alarm):
        own = cloudwatch._dims_key({each["Name"]: each["Value"] for each in alarm.get("Dimensions") or []})
        metrics = {key: points for key, points in cloudwatch._metrics.items() if key[2] == own}
        # The same code, which sees these metrics as all there are.
        types.FunctionType(evaluate.__code__, {**vars(cloudwatch), "_metrics": metrics})(alarm)

    cloudwatch._evaluate_alarm = evaluate_own


def _encode_keys_as_s3_does():
    """In listings that ask for it; without, an answer with a control character is no XML, as on AWS."""
    from ministack.services import s3

    s3._url_encode = lambda key: quote_plus(key, safe="/*")


def _match_every_character():
    """A policy's ``*`` stands for any characters, also for the line break in an object's key."""
    from ministack.core import iam_evaluator

    def compiled(pattern, ignore_case):
        parts = {"*": ".*", "?": "."}
        regex = "".join(parts.get(character) or re.escape(character) for character in pattern)
        return re.compile(rf"{regex}\Z", re.DOTALL | (re.IGNORECASE if ignore_case else 0))

    iam_evaluator._fnmatch_compile = functools.lru_cache(4096)(compiled)


def _with_context(text, schedule, event):
    """The context attributes that EventBridge Scheduler fills in at each firing."""
    moment = datetime.fromtimestamp(int(event["Time"]), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes = {
        "<aws.scheduler.schedule-arn>": schedule.get("Arn", ""),
        "<aws.scheduler.scheduled-time>": moment,
        "<aws.scheduler.execution-id>": event["EventId"],
        "<aws.scheduler.attempt-number>": "1",
    }
    for name, value in attributes.items():
        text = text.replace(name, json.dumps(value)[1:-1])
    return text


if __name__ == "__main__":
    main()
