"""A connection that its client closed holds no descriptor, whether or not the client waited for its answer.

Run by a test of the crate, with the Python that has the emulator.
"""

import asyncio
import os
import socket
import sys
import time

from hypercorn.asyncio import serve
from hypercorn.config import Config

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import doors  # noqa: E402


async def slow(_scope, receive, send):
    await receive()
    await asyncio.sleep(0.2)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def connections_left():
    listener = socket.create_server(("127.0.0.1", 0))
    at = listener.getsockname()
    config = Config()
    config.bind, config.keep_alive_timeout = [f"fd://{listener.detach()}"], 75
    ended = asyncio.Event()

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await slow(scope, receive, send)

    server = asyncio.create_task(serve(app, config, shutdown_trigger=ended.wait))

    def ask_and_leave():
        for answered in (True, False):
            with socket.create_connection(at) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert not answered or client.recv(1000).startswith(b"HTTP/1.1 204")

    before = len(os.listdir("/dev/fd"))
    await asyncio.to_thread(ask_and_leave)
    until = time.monotonic() + 10
    while (left := len(os.listdir("/dev/fd")) - before) > 0 and time.monotonic() < until:
        await asyncio.sleep(0.05)
    ended.set()
    server.cancel()
    return left


doors.connections_end_with_their_clients()
assert asyncio.run(connections_left()) <= 0
