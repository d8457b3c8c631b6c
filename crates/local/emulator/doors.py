"""The doors of the local cloud: who may knock at all, before anybody asks what they may do.

No browser stands on AWS's machines; one stands on a developer's, and a page that it shows can send requests
to the loopback. So whatever comes from a page, under a foreign name, without credentials or to MiniStack's
own management is turned away here, in front of everything else.

    wrap                    the door of the emulator's port
    administrator           the access key of an account's root, made from the local cloud's token
    no_service_is_a_root    a service principal in a trust policy admits that service only
    private_runtime_apis    a function's events go to its own process only
    judge_tokens            tokens of the prediction API are judged as API Gateway documents it
    within_limits           descriptors, processes and the log stay within bounds

It uses internals of the pinned MiniStack release, as ``authority.py`` does.
"""

import base64
import hashlib
import hmac
import json
import logging
import math
import os
import re
import resource
import secrets
import shutil
import threading
import time
from urllib.parse import parse_qs

_HEALTH = "/_ministack/health"
_API = "/_aws/execute-api/"
_INVALID_KEY = "The security token included in the request is invalid."

# What one warm function takes: its listener, its pipe, and its connections to the emulator.
_DESCRIPTORS_OF_A_FUNCTION = 20
_DESCRIPTORS_OF_THE_REST = 256
_FEW_DESCRIPTORS = 4096
_MOST_FUNCTIONS = 200
_LOG_LIMIT = 32 << 20
# How deep a claim may be nested: deeper ones break what reads them later.
_DEEPEST_CLAIM = 100

# What only the local cloud and whoever may read its state file know.
_token = ""


# ---------------------------------------------------------------------------
# The emulator's port
# ---------------------------------------------------------------------------

def wrap(app, token):
    """The ASGI application ``app`` without what a web page or a stranger could ask of it.

    The holder of ``token`` may ask everything, also as the root of any account (a key of twelve digits).
    """
    global _token
    _token = token

    async def door(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return await app(scope, receive, send)
        api = _api(scope)
        refusal = _refusal(scope, api)
        if refusal is None:
            return await app(scope, receive, send if api else _without_cors(send))
        status, headers, body = refusal
        await send({"type": "http.response.start", "status": status, "headers": [
            *((name.lower().encode(), value.encode()) for name, value in headers.items()
              if name.lower() != "content-length"),
            (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    return door


def _refusal(scope, api):
    """The answer to a request that goes no further, or None."""
    path, headers = scope["path"], _headers(scope)
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1 or not _is_here(headers["host"]):
        return _forbidden("the local cloud answers to 127.0.0.1 and localhost only")
    if _from_a_page(headers) and not (api and _admits(api, headers.get("origin", ""))):
        return _forbidden("the local cloud answers no web pages: its API has no CORS setting that admits this one")
    if hmac.compare_digest(headers.get("x-crosspilot-token", "").encode(), _token.encode()):
        return None
    if path == _HEALTH or path.startswith("/_crosspilot/"):
        return None  # the latter has a check of its own
    if path.startswith("/_") and not path.startswith(_API):
        return _forbidden("this needs the local cloud's token, in the header x-crosspilot-token")
    return _key_refusal(scope, headers, api)


def _key_refusal(scope, headers, api):
    """The answer, in AWS's terms, to a request without a key, or with one that MiniStack would not check."""
    from ministack import app as ministack
    from ministack.core import iam_evaluator, router

    query = parse_qs(scope.get("query_string", b"").decode("utf-8", "replace"), keep_blank_values=True)
    key = router.extract_access_key_id(headers, query)
    if re.fullmatch("[A-Za-z0-9]{16,128}", key):
        admit(key)
        return None
    if api and not key:
        return None  # the API's own authorizer decides
    service = router.detect_service(scope["method"], scope["path"], headers, query)
    code, message = ("InvalidClientTokenId", _INVALID_KEY) if key else (
        "MissingAuthenticationToken", "Request is missing Authentication Token")
    if service == "s3":
        code, message = ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.") \
            if key else ("AccessDenied", "Access Denied")
        text = f"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return 403, {"Content-Type": "application/xml"}, text.encode()
    return ministack._credential_failure(service, "", secrets.token_hex(8), iam_evaluator.AuthError(code, message), headers)


def _headers(scope):
    headers = {}
    for name, value in scope["headers"]:
        name, value = name.decode("latin-1"), value.decode("latin-1")
        # As MiniStack joins them, so that both see the same key.
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _is_here(host):
    """Whether a Host header names this machine, in a way that no page's owner can point anywhere else."""
    name = re.sub(r":\d+$", "", host.lower())
    return name in ("127.0.0.1", "localhost") or name.endswith(".localhost")


def _from_a_page(headers):
    """Whether a browser sent this for a page: SDKs and command lines send neither header."""
    return "origin" in headers or headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _api(scope):
    """The id of the HTTP API that a request is for, or None."""
    from ministack import app as ministack

    parsed = ministack._parse_execute_api_url(_headers(scope).get("host", ""), scope["path"])
    return parsed[0] if parsed else None


def _admits(api, origin):
    """Whether the API's own CORS setting lets pages of this origin ask it."""
    from ministack.services import apigateway

    for (_account, _region, api_id), found in apigateway._apis.all_items():
        if api_id == api:
            return bool(apigateway._cors_response_headers(found.get("corsConfiguration") or {}, origin))
    return False


def _forbidden(message):
    return 403, {"Content-Type": "application/json"}, json.dumps({"__type": "Forbidden", "message": message}).encode()


def _without_cors(send):
    """MiniStack lets every page read every answer; no page is to read any."""

    async def sent(message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [
                (name, value) for name, value in message.get("headers", [])
                if not name.lower().startswith(b"access-control-")]}
        await send(message)

    return sent


# ---------------------------------------------------------------------------
# Administrators
# ---------------------------------------------------------------------------

def administrator(token, account):
    """Access key id and secret of an account's root, as ``administrators.rs`` makes them.

    An id names its account as AWS's do (``sts:GetAccessKeyInfo``), and nothing but the token makes its rest.
    """
    def digest(what):
        return hmac.new(token.encode(), f"{what} of {account}".encode(), hashlib.sha256).digest()

    number = 1 << 79 | int(account) << 39 | int.from_bytes(digest("key")[:5], "big") >> 1
    return ("AKIA" + base64.b32encode(number.to_bytes(10, "big")).decode(),
            base64.b64encode(digest("secret"))[:40].decode())


def admit(key):
    """Make an administrator's key known to MiniStack, whose signature check it then has to pass."""
    from ministack.services import sts

    known = sts._sessions.get(key)
    account = _account_of(key)
    if account is None:
        return
    right, secret = administrator(_token, account)
    if hmac.compare_digest(key.encode(), right.encode()):
        if known is None or known["SecretAccessKey"] != secret:
            sts._sessions[key] = {
                "Arn": f"arn:aws:iam::{account}:root", "UserId": account, "AccountId": account,
                "SecretAccessKey": secret, "PrincipalType": "Root"}
    elif known is not None and known.get("PrincipalType") == "Root" and not known.get("SessionToken"):
        # Of an earlier start, whose state was kept.
        del sts._sessions[key]


def _account_of(key):
    """The account that an access key id names."""
    if not re.fullmatch("AKIA[A-Z2-7]{16}", key):
        return None
    account = int.from_bytes(base64.b32decode(key[4:]), "big") >> 39 & ((1 << 40) - 1)
    return f"{account:012d}" if account < 10**12 else None


def no_service_is_a_root():
    """MiniStack takes any account's root for whatever service a trust policy names; AWS does not."""
    from ministack.core import iam_evaluator

    matches = iam_evaluator._principal_matches

    def by_name(principal, caller_arn):
        if isinstance(principal, dict):
            principal = {kind: named for kind, named in principal.items() if kind != "Service"}
        return matches(principal, caller_arn)

    iam_evaluator._principal_matches = by_name


# ---------------------------------------------------------------------------
# The functions' Runtime APIs
# ---------------------------------------------------------------------------

def private_runtime_apis():
    """Every Runtime API answers only under a secret path, which only its own process is told.

    Everybody on this machine reaches its port, and whoever asks first would get the function's next event.
    """
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    environment, handler = lambda_svc._provided_worker_env, lambda_runtime.ProvidedWorker._build_handler_class
    paths = {}

    def with_secret(config, code_dir, port):
        paths[port] = secrets.token_urlsafe(24)
        told = environment(config, code_dir, port)
        # With its scheme, or the client does not take a path for one.
        return {**told, "AWS_LAMBDA_RUNTIME_API": f"http://127.0.0.1:{port}/{paths[port]}"}

    def build(self, generation, pending):
        class Private(handler(self, generation, pending)):
            def parse_request(self):
                if not super().parse_request():
                    return False
                secret, _, rest = self.path.removeprefix("/").partition("/")
                right = paths.get(self.server.server_address[1])
                if right is None or not hmac.compare_digest(secret.encode(), right.encode()):
                    self.close_connection = True
                    self._respond(403)
                    return False
                self.path = f"/{rest}"
                return True

        return Private

    lambda_svc._provided_worker_env = with_secret
    lambda_runtime.ProvidedWorker._build_handler_class = build


# ---------------------------------------------------------------------------
# The prediction API's tokens
# ---------------------------------------------------------------------------

def judge_tokens():
    """Refuse what API Gateway refuses and MiniStack lets through, or stumbles over.

    ``exp`` must be there and after the current time, ``nbf`` and ``iat`` before it
    (docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html); a critical header that
    nobody understands refuses the token (RFC 7515, 4.1.11).
    """
    from ministack.services import apigateway

    validate = apigateway._validate_jwt_authorizer

    async def judged(route, authorizer, headers, query):
        refused = None, None, apigateway._jwt_unauthorized()
        token = apigateway._extract_token_from_identity_source(authorizer.get("identitySource", []), headers, query)
        if not well_formed(token or "", time.time()):
            return refused
        try:
            return await validate(route, authorizer, headers, query)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return refused

    apigateway._validate_jwt_authorizer = judged


def well_formed(token, now):
    """Whether a token is one that API Gateway would look at further."""
    try:
        header, claims = (json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars="-_", validate=True))
                          for part in token.split(".")[:2])
    except (ValueError, RecursionError):
        return False
    if not isinstance(header, dict) or not isinstance(claims, dict) or token.count(".") != 2:
        return False
    if _deeper(claims, _DEEPEST_CLAIM):
        return False
    if header.get("alg") != "RS256" or "crit" in header or not isinstance(header.get("kid"), str):
        return False

    def moment(claim):
        value = claims[claim]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return value if number and abs(value) < 1 << 53 else math.nan

    return (moment("exp") > now if "exp" in claims else False) and all(
        moment(claim) <= now for claim in ("nbf", "iat") if claim in claims)


def _deeper(value, levels):
    """Whether a value is nested deeper than this."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_deeper(each, levels - 1) for each in inner)


# ---------------------------------------------------------------------------
# Limits
# ---------------------------------------------------------------------------

def within_limits(log=None):
    """Raise what may be raised, say what is too little, and bound what grows; how many functions may be at work."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    for wanted in (most, 10240):  # macOS has no more, whatever its limit says
        if wanted > soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                break
            except (ValueError, OSError):
                pass
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    functions = most_functions(descriptors)
    if descriptors < _FEW_DESCRIPTORS:
        logging.getLogger("crosspilot").warning(
            "only %d open files are allowed, so at most %d functions run at a time; raise it with `ulimit -Hn %d`",
            descriptors, functions, _FEW_DESCRIPTORS)
    # asyncio says it for every connection that waits, and many times a second.
    logging.getLogger("asyncio").addFilter(_SeldomSaid("socket.accept() out of system resource"))
    if log:
        threading.Thread(target=_bound, args=(log, _LOG_LIMIT), daemon=True).start()
    return functions


def most_functions(descriptors):
    """How many processes of functions these descriptors are enough for."""
    return max(4, min(_MOST_FUNCTIONS, (descriptors - _DESCRIPTORS_OF_THE_REST) // _DESCRIPTORS_OF_A_FUNCTION))


def few_processes(most):
    """No more functions at work than ``most``, the others being throttled as on AWS, and idle ones make room."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    lambda_svc._ACCOUNT_CONCURRENCY_CAP = min(most, lambda_svc._ACCOUNT_CONCURRENCY_CAP or most)
    acquire = lambda_runtime.acquire_worker

    def acquire_within(*arguments, **more):
        if sum(len(pool) for pool in lambda_runtime._workers.copy().values()) >= most:
            lambda_runtime.reap_idle_workers(0)
        return acquire(*arguments, **more)

    lambda_runtime.acquire_worker = lambda_svc.acquire_worker = acquire_within


def connections_end_with_their_clients():
    """Close a connection once its client has: hypercorn waits for its keep-alive timeout first, 75 s here, and each
    such connection holds a descriptor."""
    from hypercorn.asyncio.tcp_server import TCPServer

    read, wait = TCPServer._read_data, TCPServer._idle_timeout

    async def read_then_wait_no_more(self):
        await read(self)
        await self.idle_task.stop()

    async def wait_while_it_is_there(self):
        # The answer to what the client asked last comes after its end.
        if not self.reader.at_eof():
            await wait(self)

    TCPServer._read_data, TCPServer._idle_timeout = read_then_wait_no_more, wait_while_it_is_there


class _SeldomSaid(logging.Filter):
    """Lets one message through every ten seconds."""

    def __init__(self, text):
        super().__init__()
        self.text, self.said = text, 0

    def filter(self, record):
        if self.text not in record.getMessage():
            return True
        if time.monotonic() - self.said < 10:
            return False
        self.said = time.monotonic()
        return True


def _bound(log, limit):
    while True:
        time.sleep(1)
        shorten(log, limit)


def shorten(log, limit):
    """Put a log that is longer than ``limit`` aside, over what was put aside before. Its writers append."""
    try:
        if os.path.getsize(log) > limit:
            shutil.copyfile(log, f"{log}.1")
            os.truncate(log, 0)
    except OSError:
        pass
