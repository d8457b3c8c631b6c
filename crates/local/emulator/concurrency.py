"""Concurrency of functions, as Lambda and API Gateway have it.

The pinned MiniStack throttles a function above its reservation, but takes none from a
template, forgets it for versions, and its HTTP API answers as Lambda's own API does. And
where one environment of a function ends, or a function of that name is made in any
account, it ends all of them in the middle of their invocations.
"""

import threading

# What an account has, and what Lambda leaves unreserved (Developer Guide, "Lambda quotas" and
# "Configuring reserved concurrency").
_ACCOUNT, _UNRESERVED = 1000, 100


def patch():
    _reserve_what_templates_say()
    _share_among_versions()
    _answer_throttled_requests()
    _end_no_invocation_of_another()


def _reserve_what_templates_say():
    from ministack.services import lambda_svc
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create, update = handlers["create"], handlers["update"]

    def reserve(name, properties):
        asked = properties.get("ReservedConcurrentExecutions")
        asked = None if asked in (None, "") else int(asked)
        others = sum(function.get("concurrency") or 0 for other, function in lambda_svc._functions.items() if other != name)
        if _ACCOUNT - others - (asked or 0) < _UNRESERVED:
            raise ValueError(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{_UNRESERVED}].")
        lambda_svc._functions[name]["concurrency"] = asked

    def created(logical_id, properties, stack_name):
        answer = create(logical_id, properties, stack_name)
        reserve(answer[0], properties)
        return answer

    def updated(physical_id, before, properties, stack_name, *rest, **named):
        answer = update(physical_id, before, properties, stack_name, *rest, **named)
        reserve(answer[0], properties)
        return answer

    handlers["create"], handlers["update"] = created, updated


def _share_among_versions():
    """What is reserved is the function's, and a version knows only what there was when it was published."""
    from ministack.services import lambda_svc

    def reserved(_function, config):
        return (lambda_svc._functions.get(config["FunctionName"]) or {}).get("concurrency")

    lambda_svc._reserved_concurrency = reserved


def _answer_throttled_requests():
    """An HTTP API hands Lambda's 429 on to nobody: it is Service Unavailable."""
    from ministack.services import lambda_svc

    shaped = lambda_svc.lambda_execute_result_to_api_proxy_response

    def answer(result):
        if result.get("throttle"):
            return {"statusCode": 503, "headers": {"Content-Type": "application/json"},
                    "body": '{"message":"Service Unavailable"}'}, None
        return shaped(result)

    lambda_svc.lambda_execute_result_to_api_proxy_response = answer


def _end_no_invocation_of_another():
    """An environment that is at work when its function changes, or another one dies, ends its invocation first."""
    from ministack.core import lambda_runtime
    from ministack.core.responses import get_account_id, get_region
    from ministack.services import lambda_svc

    acquire, release = lambda_runtime.acquire_worker, lambda_runtime.release_worker
    leaving = set()

    def acquired(*arguments, **named):
        worker, how = acquire(*arguments, **named)
        if worker is not None:
            worker.leased_by = threading.get_ident()
        return worker, how

    def released(worker):
        release(worker)
        if worker in leaving:
            leaving.discard(worker)
            lambda_runtime.kill_workers([worker])

    def invalidated(name, qualifier=None, account=None, region=None):
        account, region = account or get_account_id(), region or get_region()

        def concerned(key):
            of_account, of_region, of_name, of_qualifier = key.split(":")
            return (of_account, of_region, of_name) == (account, region, name) and qualifier in (None, of_qualifier)

        with lambda_runtime._lock:
            keys = [key for key in lambda_runtime._workers if concerned(key)]
            workers = [worker for key in keys for worker in lambda_runtime._workers.pop(key)]
            # The one that failed is this thread's own.
            at_work = {each for each in workers if each.in_use and each.leased_by != threading.get_ident()}
            leaving.update(at_work)
        lambda_runtime.kill_workers([worker for worker in workers if worker not in at_work])

    lambda_svc.acquire_worker, lambda_svc.release_worker, lambda_svc.invalidate_worker = acquired, released, invalidated
