"""Who is calling, and may they? Asked by servers that stand beside the emulator.

The emulator (MiniStack) holds every account's users, roles, sessions and
policies. A server that offers a service the emulator does not have must check
its callers against exactly those, so this wrapper puts the emulator's own
signature check and policy evaluator on its own port, under ``/_crosspilot/``
and behind a token that only the local cloud knows. Every other request passes
through untouched.

    POST /_crosspilot/authorize        may the sender of this request do this?
    POST /_crosspilot/service-session  a session of a role, for an AWS service
    POST /_crosspilot/session-may      may the holder of such a session do this?
    POST /_crosspilot/decisions        which of all this may such a holder do? (for tests)
    POST /_crosspilot/expire-sessions  end a role's sessions now (for tests)
    POST /_crosspilot/issued-secrets   every session's secrets (to search logs for)
    POST /_crosspilot/calls            who called what with a session, so far (for tests)
    POST /_crosspilot/events           what a bus of an account was given (for tests)
    POST /_crosspilot/age-metrics      an endpoint's metrics as if of earlier (for tests)
    POST /_crosspilot/fault(s), kill   see ``faults.py`` (for tests)

It uses internals of the pinned MiniStack release; ``wrap`` imports them all, so
a release that moved one fails at the start and not at the first request.
"""

import collections
import contextvars
import hmac
import json
import re
import time
from urllib.parse import parse_qs

_PREFIX = "/_crosspilot/"
_SESSION_SECONDS = 3600
_MAX_DOCUMENT = 1 << 20
# Calls made with sessions: (principal ARN, method, path or action, resource).
_calls = collections.deque(maxlen=100_000)


class Refused(Exception):
    """A refusal in AWS's terms."""

    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def wrap(app, token):
    """The ASGI application ``app`` with the questions above answered to holders of ``token``."""
    import faults
    from ministack.services import sts

    _questions()
    app = faults.wrap(app, _described)
    # MiniStack forgets an expired session at the next AssumeRole, after which
    # its key is merely unknown. AWS goes on saying that it has expired.
    sts._evict_expired_sessions = lambda: None
    _let_query_signatures_expire()

    async def gate(scope, receive, send):
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
            status, answer = await _answer(scope, receive, token)
            body = json.dumps(answer).encode()
            await send({"type": "http.response.start", "status": status, "headers": [
                (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})
        else:
            if scope["type"] == "http":
                _record(scope)
            await app(scope, receive, send)

    return gate


def _described(scope, body):
    """What a request to the emulator is, as IAM names it (``s3:GetObject``), and the session that sent it."""
    from ministack.core import iam_actions
    from ministack.services import sts

    headers, query = _headers_and_query(scope)
    parts = _scope(headers, query)
    if len(parts) != 5:
        return None, ""
    if parts[3] == "s3":
        action = f"s3:{iam_actions._s3_action(scope['method'], scope['path'], query)}"
    else:
        action = iam_actions.extract_iam_action(parts[3], scope["method"], scope["path"], headers, body, query)
    return action, str((sts._sessions.get(parts[0]) or {}).get("Arn", ""))


def _record(scope):
    """Keep who called what, whatever becomes of it, as far as a session was used."""
    from ministack.services import sts

    session = sts._sessions.get("".join(_scope(*_headers_and_query(scope))[:1]))
    if session:
        _calls.append((session["Arn"], scope["method"], scope["path"], ""))


def _headers_and_query(scope):
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return headers, parse_qs(scope.get("query_string", b"").decode("utf-8", "replace"), keep_blank_values=True)


def _questions():
    import faults
    from ministack.core import iam_actions, iam_evaluator, responses, router, sigv4  # noqa: F401
    from ministack.services import iam  # noqa: F401

    return {"authorize": _authorize, "service-session": _service_session, "session-may": _session_may, "decisions": _decisions,
            "expire-sessions": _expire_sessions, "issued-secrets": _issued_secrets, "calls": _called,
            "events": _events, "age-metrics": _age_metrics, "fault": faults.add, "faults": faults.to_come, "kill": faults.kill}


async def _answer(scope, receive, token):
    """The status and JSON document that answer one question."""
    given = dict(scope["headers"]).get(b"x-crosspilot-token", b"")
    if not token or not hmac.compare_digest(given, token.encode()):
        return 403, {"error": {"code": "Forbidden", "message": "not for you", "status": 403}}
    question = _questions().get(scope["path"][len(_PREFIX):])
    if question is None or scope["method"] != "POST":
        return 404, {"error": {"code": "NotFound", "message": "no such question", "status": 404}}
    body, more = b"", True
    while more and len(body) <= _MAX_DOCUMENT:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    try:
        # MiniStack keeps the caller in context variables: each question gets its own.
        return 200, contextvars.copy_context().run(question, json.loads(body))
    except Refused as refused:
        return 200, {"error": {"code": refused.code, "message": refused.message, "status": refused.status}}
    except (KeyError, TypeError, ValueError, AttributeError) as malformed:
        return 400, {"error": {"code": "Malformed", "message": repr(malformed), "status": 400}}


# ---------------------------------------------------------------------------
# authorize
# ---------------------------------------------------------------------------

def _authorize(question):
    """Check the request's signature, clock, session and expiry, then each thing it wants to do."""
    from ministack.core import iam_evaluator as evaluator

    headers = {}
    for name, value in question["headers"]:
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    access_key = _authenticate(question, headers)
    principal = evaluator.resolve_principal(access_key, _account())
    if isinstance(principal, evaluator.AuthError):
        raise _failed(principal.code, principal.message, headers)

    region = _scope(headers, parse_qs(question.get("query", ""), keep_blank_values=True))[2]

    def resolve(value):
        if isinstance(value, list):
            return [resolve(item) for item in value]
        if isinstance(value, str) and value.startswith("arn:"):
            return value.replace("{account}", principal.account).replace("{region}", region)
        return value

    for check in question["checks"]:
        resource = resolve(check["resource"])
        _calls.append((principal.arn, question["method"], check["action"], resource))
        context = {key: resolve(value) for key, value in check.get("context", {}).items()}
        for key, value in question.get("resource_tags", {}).get(resource, {}).items():
            context[f"aws:ResourceTag/{key}"] = value
        service = check["action"].partition(":")[0]
        result = evaluator.enforce(access_key, check["action"], service, region, resource, context)
        if isinstance(result, evaluator.AuthError):
            raise _failed(result.code, result.message, headers)
        if result is not None:
            status = 400 if headers.get("x-amz-target") else 403
            raise Refused("AccessDeniedException",
                          _denial(principal, access_key, check["action"], resource, context, region), status)
    return {"principal_arn": principal.arn, "account": principal.account, "region": region}


def _authenticate(question, headers):
    """The access key of a request whose signature holds; its account becomes the current one."""
    import doors
    from ministack.core import iam_evaluator as evaluator
    from ministack.core import responses, router, sigv4

    query = parse_qs(question.get("query", ""), keep_blank_values=True)
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in question["headers"]]
    if not headers.get("authorization"):
        # AWS reads a query without the algorithm as one without credentials.
        if not evaluator._query_value(query, "X-Amz-Algorithm"):
            raise _failed("MissingAuthenticationToken", "Request is missing Authentication Token", headers)
        parts = sigv4.parse_query_signature(query)
        if isinstance(parts, tuple):
            raise _failed(*parts, headers)
    access_key = router.extract_access_key_id(headers, query)
    scope = _scope(headers, query)
    if not access_key or len(scope) != 5:
        raise _failed("IncompleteSignature",
                      "Authorization header requires 'Credential' parameter. Authorization=...", headers)
    if scope[3] != question["service"]:
        raise _failed("SignatureDoesNotMatch",
                      f"Credential should be scoped to correct service: '{question['service']}'. ", headers)

    doors.admit(access_key)
    try:
        owner = evaluator.find_iam_access_key_account(access_key)
    except evaluator.AmbiguousAccessKeyError:
        raise _failed("InvalidClientTokenId", "The security token included in the request is invalid.", headers)
    responses.set_request_account_id(owner or access_key)
    responses.set_request_region(scope[2])

    # The body stays with the asker; its digest is all that a signature covers.
    digest = question["body_sha256"]
    if headers.get("x-amz-content-sha256", digest) != digest:
        raise _failed("SignatureDoesNotMatch", "The provided x-amz-content-sha256 does not match the body.", headers)
    if "x-amz-content-sha256" not in headers:
        raw.append((b"x-amz-content-sha256", digest.encode()))
    evaluator.pin_signed_request(question["method"], question["path"], query, raw)
    checked = evaluator.authenticate(access_key, _account())
    if isinstance(checked, evaluator.AuthError):
        raise _failed(checked.code, checked.message, headers)
    # MiniStack leaves keys of its own making unverified (of twelve digits, or "test").
    if checked is None:
        raise _failed("UnrecognizedClientException", "The security token included in the request is invalid.", headers)
    return access_key


def _scope(headers, query):
    """The parts of the credential scope, of the header or else of the query: key, date, region, service, terminator."""
    from ministack.core import iam_evaluator as evaluator

    if headers.get("authorization"):
        found = re.search(r"Credential=([^,\s]+)", headers["authorization"])
        return found.group(1).split("/") if found else []
    credential = evaluator._query_value(query, "X-Amz-Credential")
    return credential.split("/") if credential else []


def _let_query_signatures_expire():
    """A signature in the query ends when ``X-Amz-Expires`` says, also elsewhere than at S3, which sees to it itself.

    MiniStack lets it live as long as one in a header: at most so long it stays. STS takes no notice of
    ``X-Amz-Expires``: tokens of EKS, which are such requests to it and say 60 seconds, hold for 15 minutes
    (aws-iam-authenticator, ``pkg/token``).
    """
    from ministack.core import iam_evaluator as evaluator
    from ministack.core import sigv4

    authenticate = evaluator.authenticate

    def in_time(access_key_id, account_id):
        request = evaluator._signed_request.get()
        if request is not None and request.presigned and request.access_key_id == access_key_id:
            failure = failed(request.query_params)
            if failure:
                evaluator._signed_request.set(None)
                return evaluator.AuthError(*failure)
        return authenticate(access_key_id, account_id)

    def failed(query):
        """Why a signature is not good any more, or None."""
        expires = evaluator._query_value(query, "X-Amz-Expires")
        if not expires or _scope({}, query)[3:4] == ["sts"]:
            return None
        if not re.fullmatch("[0-9]{1,9}", expires):
            return "IncompleteSignature", "X-Amz-Expires must be a number of seconds."
        try:
            expired = sigv4.presigned_request_is_expired(evaluator._query_value(query, "X-Amz-Date"), expires)
        except ValueError:
            return "IncompleteSignature", "Date must be in ISO-8601 'basic format'."
        return ("RequestExpired", "Request has expired") if expired else None

    evaluator.authenticate = in_time


def _account():
    from ministack.core import responses

    return responses.get_account_id()


def _failed(code, message, headers):
    """A failed authentication as MiniStack words and codes it for a JSON service."""
    from ministack.core import iam_actions

    code, status, message = iam_actions._auth_failure("sagemaker", code, message, headers)
    return Refused(code, message, status)


def _denial(principal, access_key, action, resource, context, region):
    """AWS's sentence for a denial, with the kind of policy that decided it."""
    from ministack.core import iam_evaluator as evaluator
    from ministack.services import sts

    asked = evaluator.EvalContext(
        principal_arn=principal.arn, principal_type=principal.type, principal_account=principal.account,
        action=action, resource_arn=resource, region=region, principal_keys=principal.keys,
        service_context={key.lower(): value for key, value in context.items()})
    kinds = ["a permissions boundary", "a session policy"]
    if not (sts._sessions.get(access_key) or {}).get("SessionPolicies"):
        kinds = kinds[:1]
    elif len(principal.limits) == 1:
        kinds = kinds[1:]
    reason = f"because no identity-based policy allows the {action} action"
    layers = [("an identity-based policy", principal.policies), *zip(kinds, principal.limits)]
    decisions = [(kind, evaluator.evaluate(asked, policies).decision) for kind, policies in layers]
    for kind, decision in decisions:
        if decision == "Deny":
            reason = f"with an explicit deny in {kind}"
            break
    else:
        for kind, decision in decisions:
            if decision != "Allow":
                reason = f"because no {kind.split(' ', 1)[1]} allows the {action} action"
                break
    return f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource} {reason}"


# ---------------------------------------------------------------------------
# service-session and expire-sessions
# ---------------------------------------------------------------------------

def _service_session(question):
    """Credentials of a role for an AWS service, if the role's trust policy lets that service have them."""
    from ministack.core import iam_evaluator as evaluator
    from ministack.services import iam, sts

    role_arn, service = question["role_arn"], question["service"]
    found = re.fullmatch(r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:.*/)?([^/]+)", role_arn)
    role = iam._roles.get_scoped(found.group(1), None, found.group(2)) if found else None
    if role is None or role.get("Arn") != role_arn:
        raise Refused("AccessDenied", f"{service} is not authorized to perform: sts:AssumeRole on resource: {role_arn}")

    # Not every service says for whom it works: what it does not say is no key of the request's.
    source = {"aws:sourceaccount": question["source_account"], "aws:sourcearn": question.get("source_arn")}
    asked = evaluator.EvalContext(
        principal_arn=service, principal_type="Service", principal_account=question["source_account"],
        action="sts:AssumeRole", resource_arn=role_arn, region=question["region"],
        service_context={
            **{key: value for key, value in source.items() if value},
            "aws:principalservicename": service, "aws:principalisawsservice": "true"})
    trust = {"Statement": _statements_about(role.get("AssumeRolePolicyDocument"), service)}
    if not evaluator.evaluate_trust_policy(trust, service, asked):
        raise Refused("AccessDenied", f"{service} is not authorized to perform: sts:AssumeRole on resource: {role_arn}")

    account, name = found.groups()
    access_key, secret, token = sts._gen_session_access_key(), sts._gen_secret(), sts._gen_session_token()
    expiration = time.time() + _SESSION_SECONDS
    sts.register_session(access_key, {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/SageMaker",
        "UserId": f"{role.get('RoleId', name)}:SageMaker",
        "SecretAccessKey": secret, "SessionToken": token, "Expiration": expiration,
        "AccountId": account, "PrincipalType": "AssumedRole",
    })
    return {"access_key_id": access_key, "secret_access_key": secret, "session_token": token,
            "expiration": int(expiration)}


def _session_may(question):
    """Whether a service may do all this with the session that it was given.

    For what SageMaker does with a role elsewhere than at the emulator's own port.
    """
    principal = _holder(question)
    for check in question["checks"]:
        _calls.append((principal.arn, "POST", check["action"], check["resource"]))
        if not _allowed(principal, check, question["region"]):
            context = {key.lower(): value for key, value in check["context"].items()}
            raise Refused("AccessDeniedException", _denial(
                principal, question["access_key_id"], check["action"], check["resource"], context, question["region"]))
    return {}


def _decisions(question):
    """For each check, whether the holder of a session may do it."""
    principal = _holder(question)
    return {"decisions": [_allowed(principal, check, question["region"]) for check in question["checks"]]}


def _holder(question):
    """Who holds the session of this access key; its account becomes the current one."""
    from ministack.core import iam_evaluator as evaluator
    from ministack.core import responses
    from ministack.services import sts

    access_key = question["access_key_id"]
    session = sts._sessions.get(access_key)
    if session is None:
        raise Refused("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
    responses.set_request_account_id(session["AccountId"])
    responses.set_request_region(question["region"])
    principal = evaluator.resolve_principal(access_key, session["AccountId"])
    if isinstance(principal, evaluator.AuthError):
        raise Refused(principal.code, principal.message, 403)
    return principal


def _allowed(principal, check, region):
    """The evaluator's verdict, with the resource's own policy."""
    from ministack.core import iam_evaluator as evaluator

    asked = evaluator.EvalContext(
        principal_arn=principal.arn, principal_type=principal.type, principal_account=principal.account,
        action=check["action"], resource_arn=check["resource"], region=region, principal_keys=principal.keys,
        secure_transport=True, service_context={key.lower(): value for key, value in check["context"].items()})
    service = check["action"].partition(":")[0]
    result = evaluator.evaluate(asked, principal.policies, *principal.limits)
    found = evaluator._resource_policy(service, check["resource"])
    if found is not None:
        result = evaluator.combine_resource_policy(
            result, asked, *found, required=service in evaluator._POLICY_REQUIRED, limits=principal.limits)
    return result.decision == "Allow"


def role_allows(role_arn, service, action, resource, account, context=None):
    """Whether a role of an account is the service's to use, on behalf of that account, and allows this."""
    from ministack.core import iam_evaluator as evaluator
    from ministack.core import responses
    from ministack.services import iam

    role_account, name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    role = iam._roles.get_scoped(role_account, None, name)
    if role is None:
        return False
    asked = evaluator.EvalContext(
        principal_arn=service, principal_type="Service", principal_account=account,
        action="sts:AssumeRole", resource_arn=role_arn, region=responses.get_region(),
        service_context={"aws:sourceaccount": account})
    trust = {"Statement": _statements_about(role.get("AssumeRolePolicyDocument"), service)}
    if not evaluator.evaluate_trust_policy(trust, service, asked):
        return False
    acting = evaluator.EvalContext(
        principal_arn=role_arn, principal_type="AssumedRole", principal_account=role_account,
        action=action, resource_arn=resource, region=responses.get_region(),
        service_context={key.lower(): value for key, value in (context or {}).items()})
    policies = evaluator._gather_role_policies(name, role_account)
    return evaluator.evaluate(acting, policies).decision == "Allow"


def _statements_about(document, service):
    """The trust statements that name the service, open to whoever asks.

    MiniStack's matcher knows a Service principal only as "the account's root",
    so the principal is matched here and everything else (actions, conditions,
    denials first) is left to its evaluator.
    """
    if isinstance(document, str):
        document = json.loads(document)
    statements = (document or {}).get("Statement", [])
    about = []
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal = statement.get("Principal", {})
        named = principal.get("Service", []) if isinstance(principal, dict) else []
        named = [named] if isinstance(named, str) else named
        everyone = principal == "*" and statement.get("Effect") == "Deny"
        if everyone or any(name.lower() == service.lower() for name in named):
            about.append({**statement, "Principal": "*"})
    return about


def _expire_sessions(question):
    """End the sessions whose principal ARN starts as asked; how many there were."""
    from ministack.services import sts

    ended = 0
    for session in sts._sessions.values():
        if str(session.get("Arn", "")).startswith(question["principal_prefix"]):
            session["Expiration"] = time.time() - 1
            ended += 1
    return {"expired": ended}


def _called(question):
    """Who called what with sessions whose principal ARN starts as asked."""
    return {"calls": [
        {"principal": principal, "method": method, "what": what, "resource": resource}
        for principal, method, what, resource in _calls if principal.startswith(question["principal_prefix"])]}


def _events(question):
    """The detail types and details that an account's buses were given with PutEvents."""
    from ministack.core import responses
    from ministack.services import eventbridge

    responses.set_request_account_id(question["account"])
    responses.set_request_region(question["region"])
    return {"events": [
        {"detail_type": event.get("DetailType", ""), "detail": event.get("Detail", "")}
        for event in eventbridge._events_log_list()]}


def _age_metrics(question):
    """Every data point about an endpoint so far is as many seconds older."""
    from ministack.core import responses
    from ministack.services import cloudwatch

    responses.set_request_account_id(question["account"])
    responses.set_request_region(question["region"])
    for (_namespace, _metric, dimensions), points in cloudwatch._metrics.items():
        if f"EndpointName={question['endpoint']}" in dimensions.split("|"):
            for point in points:
                point["Timestamp"] -= question["seconds"]
    return {}


def _issued_secrets(_question):
    """What must never show anywhere: the keys, secrets and tokens of all sessions so far."""
    from ministack.services import sts

    secrets = []
    for access_key, session in sts._sessions.items():
        secrets += [access_key, session.get("SecretAccessKey"), session.get("SessionToken")]
    return {"secrets": [secret for secret in secrets if secret]}
