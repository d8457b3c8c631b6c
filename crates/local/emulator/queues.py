"""Queues that functions read, and runs that are started by name, as on AWS.

What the pinned MiniStack release lacks of both, each as AWS documents it:

- EventBridge sends to a queue only if the queue's policy lets it do so for that
  rule; what could not be sent goes to the target's dead-letter queue.
- A function's mapping to a queue is made only if the function's role may read
  the queue and the queue hides a message for as long as the function may take.
- A batch has up to ``BatchSize`` messages, and waits for more of them for
  ``MaximumBatchingWindowInSeconds``.
- An answer that names a message that was not in the batch, or is no list of
  failures, leaves the whole batch in the queue.
- ``StartExecution`` with the name and the input of an execution that runs is
  answered with that execution.

Like all waits of the local cloud, batching windows and the time for which a
message is hidden are shorter by ``SFN_WAIT_SCALE``.
"""

import json
import os
import threading
import time
import types


def install():
    _guard_queues()
    _map_as_aws_does()
    _read_whole_batches()
    _distrust_answers()
    _start_once_by_name()


def _scale():
    return float(os.environ.get("SFN_WAIT_SCALE", "1"))


def _guard_queues():
    from ministack.core import responses
    from ministack.core.arn import parse_arn
    from ministack.services import eventbridge, sqs

    invoke = eventbridge._invoke_target

    def admits(queue, rule):
        return sqs._queue_by_arn(queue) is not None and sqs.queue_policy_allows(
            queue, "events.amazonaws.com", rule.get("Arn", ""), responses.get_account_id())

    def invoke_target(target, event, rule, view=None):
        queue = target.get("Arn", "")
        if queue.split(":")[2:3] != ["sqs"] or event.get("Source") == "aws.scheduler" or admits(queue, rule):
            return invoke(target, event, rule, view)
        eventbridge.logger.warning("queue %s takes nothing from rule %s", queue, rule.get("Arn"))
        letters = (target.get("DeadLetterConfig") or {}).get("Arn", "")
        if letters and admits(letters, rule):
            view = view or eventbridge._pattern_event_view(event)
            eventbridge._dispatch_to_sqs(parse_arn(letters), json.dumps(view.event_with_detail()))

    eventbridge._invoke_target = invoke_target


def _map_as_aws_does():
    from ministack.core import iam_evaluator, responses
    from ministack.services import lambda_svc, sqs
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    create = handlers["create"]

    def checked(logical_id, properties, stack_name):
        arn = properties.get("EventSourceArn", "")
        queue = sqs._queue_by_arn(arn)
        if queue is not None:
            name, qualifier = lambda_svc._resolve_name_and_qualifier(properties["FunctionName"])
            function, config = lambda_svc._get_func_record_for_qualifier(name, qualifier)
            if function is None:
                raise ValueError(f"Function does not exist: {name}")
            hidden, takes = int(queue["attributes"].get("VisibilityTimeout", "30")), int(config.get("Timeout", 3))
            if hidden < takes:
                raise ValueError(f"Queue visibility timeout: {hidden} seconds is less than Function timeout: {takes} seconds")
            if int(properties.get("BatchSize", 10)) > 10 and not int(properties.get("MaximumBatchingWindowInSeconds", 0)):
                raise ValueError("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")
            role = config.get("Role", "")
            account, role_name = role.split(":")[4], role.rsplit("/", 1)[-1]
            policies = iam_evaluator._gather_role_policies(role_name, account)
            for call in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
                asked = iam_evaluator.EvalContext(
                    principal_arn=role, principal_type="AssumedRole", principal_account=account,
                    action=f"sqs:{call}", resource_arn=arn, region=responses.get_region())
                if iam_evaluator.evaluate(asked, policies).decision != "Allow":
                    raise ValueError(f"The provided execution role does not have permissions to call {call} on SQS")
        return create(logical_id, properties, stack_name)

    handlers["create"] = checked


def _read_whole_batches():
    from ministack.services import lambda_svc, sqs

    def receive(queue_url, batch_size):
        with sqs._queues_lock:
            queue = sqs._get_q(queue_url)
            source = queue["attributes"].get("QueueArn", "")
            windows = [int(esm.get("MaximumBatchingWindowInSeconds") or 0)
                       for _, _, esm in lambda_svc._iter_all_esms() if esm.get("EventSourceArn") == source]
            sqs._expire_retained(queue)
            sqs._dlq_sweep(queue)
            for message in queue["messages"]:
                sqs._ensure_msg_fields(message)
            now = time.time()
            visible = [message["visible_at"] for message in queue["messages"] if message["visible_at"] <= now]
            due = min(visible, default=now) + max(windows, default=0) * _scale()
            if visible and len(visible) < batch_size and due > now:
                timer = threading.Timer(due - now, lambda_svc._esm_wake.set)
                timer.daemon = True
                timer.start()
                return []
            hidden = int(queue["attributes"].get("VisibilityTimeout", "30")) * _scale()
            return sqs._collect_msgs(queue, int(batch_size or 1), hidden)

    sqs._receive_messages_for_esm = receive


def _distrust_answers():
    from ministack.services import lambda_svc

    run = lambda_svc._run_sqs_batch
    execute = lambda_svc._execute_function

    def is_sound(answer, records):
        """Whether Lambda takes it for a report (Developer Guide, "Reporting batch item failures")."""
        if not answer:
            return True
        failures = answer.get("batchItemFailures", []) if isinstance(answer, dict) else None
        known = {record["messageId"] for record in records}
        return failures is None or isinstance(failures, list) and all(
            isinstance(failure, dict) and failure.get("itemIdentifier") in known for failure in failures)

    def checked(function, event, *rest, **named):
        result = execute(function, event, *rest, **named)
        if not result.get("error") and not is_sound(result.get("body"), event["Records"]):
            result = {**result, "error": True, "body": {
                "errorType": "BadReport", "errorMessage": "batchItemFailures names no message of the batch"}}
        return result

    # The same code, whose function's answers are looked at first.
    seen = types.FunctionType(run.__code__, {**vars(lambda_svc), "_execute_function": checked})

    def run_batch(mapping, *rest):
        reports = "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or [])
        return (seen if reports else run)(mapping, *rest)

    lambda_svc._run_sqs_batch = run_batch


def _start_once_by_name():
    from ministack.core import responses
    from ministack.services import stepfunctions

    start = stepfunctions._start_execution

    def start_execution(data):
        machine = stepfunctions._resolve_state_machine_arn(data.get("stateMachineArn", "").split("#")[0])
        if machine and data.get("name"):
            arn = f"{machine.replace(':stateMachine:', ':execution:', 1)}:{data['name']}"
            found = stepfunctions._executions.get(arn)
            if found and found["status"] == "RUNNING" and found["input"] == data.get("input", "{}"):
                return responses.json_response({"executionArn": arn, "startDate": found["startDate"]})
        return start(data)

    stepfunctions._start_execution = start_execution
