"""Faults on demand in what the emulator serves, so that tests can show what a client does about them.

    POST /_crosspilot/fault   what shall go wrong: see ``crates/sagemaker-local/src/faults.rs``
    POST /_crosspilot/faults  how many have not struck yet
    POST /_crosspilot/kill    end the process that holds the other end of a connection

The local SageMaker has the same faults for its own operations, and ``failures.py`` has some for
invocations of functions.
"""

import asyncio
import glob
import json
import os
import signal
from urllib.parse import unquote_to_bytes

_faults = []


def add(question):
    """Keep a fault until it has struck as often as it shall."""
    fault = {"about": [], "after": 0, "times": 1, **question}
    fault["operation"], fault["effect"]  # noqa: B018 - both must be there
    _faults.append(fault)
    return {}


def to_come(question):
    """How many faults about this have not struck yet."""
    return {"to_come": sum(fault["times"] for fault in _faults if question["about"] in fault["about"])}


def kill(question):
    """End the process of this machine that holds a loopback connection from one port to another, as a crash would."""
    process = _owner_of(question["from"], question["to"])
    # The functions' processes share the emulator's group.
    if process is None or os.getpgid(process) != os.getpgid(0):
        raise ValueError(f"connection {question!r} is of no function: process {process}")
    os.kill(process, signal.SIGKILL)
    return {"killed": process}


def wrap(app, described):
    """The ASGI application ``app`` whose requests go wrong as asked.

    ``described`` gives a request's operation, such as ``s3:GetObject``, and who sent it.
    """

    async def struck(scope, receive, send):
        if scope["type"] != "http" or not _faults:
            return await app(scope, receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body, more = body + message.get("body", b""), message.get("more_body", False)
        given = False

        async def replay():
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        operation, sender = described(scope, body)
        query = scope.get("query_string", b"")
        about = b" ".join([sender.encode(), scope["path"].encode(), query, body]).decode("utf-8", "replace")
        effect = strike(operation, about)
        await _respond(effect, app, scope, replay, send)

    return struck


def strike(operation, about):
    """What happens to this call of an operation, if anything."""
    for fault in _faults:
        if fault["operation"] == operation and all(text in about for text in fault["about"]):
            if fault["after"] > 0:
                fault["after"] -= 1
                return None
            fault["times"] -= 1
            if fault["times"] <= 0:
                _faults.remove(fault)
            return fault["effect"]
    return None


async def _respond(effect, app, scope, receive, send):
    async def nobody(_message):
        pass

    kind, detail = next(iter(effect.items())) if isinstance(effect, dict) else (effect, None)
    if kind is None:
        await app(scope, receive, send)
    elif kind == "throttle":
        await _refuse(send, "SlowDown" if _is_s3(scope) else "Throttling", "Please reduce your request rate.", 503, scope)
    elif kind == "fail":
        await _refuse(send, detail["code"], detail["message"], detail["status"], scope)
    elif kind == "delay":
        await asyncio.sleep(detail / 1000)
        await app(scope, receive, send)
    elif kind == "garbage":
        await _whole(send, 200, b"<html>not what you asked for")
    elif kind == "kill":
        await app(scope, receive, nobody)
        kill({"from": scope["client"][1], "to": scope["server"][1]})
        raise ConnectionError("its sender was killed")
    elif kind == "lose":
        await app(scope, receive, nobody)
        raise ConnectionError("cut off")
    elif kind == "cut":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1024")]})
        await send({"type": "http.response.body", "body": b"cut o", "more_body": True})
        raise ConnectionError("cut off")
    else:
        raise ValueError(f"unknown fault {effect!r}")


def _is_s3(scope):
    signed = dict(scope["headers"]).get(b"authorization") or unquote_to_bytes(scope.get("query_string", b""))
    return b"/s3/aws4_request" in signed


async def _refuse(send, code, message, status, scope):
    if b"x-amz-target" in dict(scope["headers"]):
        return await _whole(send, status, json.dumps({"__type": code, "message": message}).encode(), b"application/x-amz-json-1.1")
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    text = f"<Error>{inner}</Error>" if _is_s3(scope) else f"<ErrorResponse><Error>{inner}</Error></ErrorResponse>"
    await _whole(send, status, text.encode())


async def _whole(send, status, body, kind=b"text/xml"):
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", kind), (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def _owner_of(sender, receiver):
    """The process at the sender's end. Another connection may come from the same port, to somewhere else."""
    ends = [f"0100007F:{port:04X}" for port in (sender, receiver)]
    with open("/proc/net/tcp") as table:
        lines = [line.split() for line in table]
    inodes = {f"socket:[{fields[9]}]" for fields in lines if fields[1:3] == ends}
    for handle in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(handle) in inodes:
                return int(handle.split("/")[2])
        except OSError:
            pass
    return None

