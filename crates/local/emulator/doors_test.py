"""What ``doors.py`` decides by itself: limits and the log. Run by a test of the crate, with a scratch directory."""

import os
import resource
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import doors  # noqa: E402

scratch = sys.argv[1]


def limited(soft, hard):
    """What a process with these limits for open files makes of them, and what it says."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    code = ("import sys, doors, resource; functions = doors.within_limits();"
            "print(functions, resource.getrlimit(resource.RLIMIT_NOFILE)[0])")
    ended = subprocess.run([sys.executable, "-c", code], cwd=os.path.dirname(os.path.abspath(__file__)),
                           preexec_fn=limit, capture_output=True, text=True, check=True)
    functions, descriptors = ended.stdout.split()
    return int(functions), int(descriptors), ended.stderr


# The soft limit becomes the hard one; what is too little is said, and bounds the functions.
assert limited(256, 4096) == (doors.most_functions(4096), 4096, "")
functions, descriptors, said = limited(256, 1024)
assert (functions, descriptors) == (38, 1024) and "only 1024 open files" in said and "ulimit" in said, said
assert doors.most_functions(100) == 4 and doors.most_functions(10**6) == 200

# A log that grew too long is put aside, and its writer goes on at the start.
log = os.path.join(scratch, "emulator.log")
with open(log, "a") as writer:
    writer.write("x" * 1000)
    writer.flush()
    doors.shorten(log, 1000)
    assert os.path.getsize(log) == 1000
    writer.write("y")
    writer.flush()
    doors.shorten(log, 1000)
    writer.write("z")
assert open(log).read() == "z" and len(open(f"{log}.1").read()) == 1001

# A message that is said many times a second is let through once in ten seconds.
import logging  # noqa: E402

said = []
logger = logging.getLogger("asyncio")
doors.within_limits()
logger.addHandler(type("Heard", (logging.Handler,), {"emit": lambda _self, record: said.append(record.msg)})())
for _ in range(100):
    logger.error("socket.accept() out of system resource")
logger.error("something else")
assert said == ["socket.accept() out of system resource", "something else"], said

# An id that the local cloud did not make is nobody's.
key, _secret = doors.administrator("token", "012345678901")
assert doors._account_of(key) == "012345678901"
assert [doors._account_of(odd) for odd in ("", "test", "111111111111", "AKIA" + "A" * 15, "ASIA" + "A" * 16)] == [None] * 5

for host, here in {"127.0.0.1": True, "localhost:1": True, "bucket.localhost:1": True, "x.s3.localhost": True,
                   "evil.com": False, "localhost.evil.com:1": False, "127.0.0.1.evil.com": False, "": False,
                   "evillocalhost": False, "[::1]:1": False}.items():
    assert doors._is_here(host) == here, host
