"""An UPCASE client (SPEC.md, section 5): client.py HOST PORT [SECONDS]
The message comes from standard input, and the reply goes to standard output."""
import os
import socket
import sys
import threading
import time

from upcase import LIMIT, clip, process, upper

def check(message):
    if b"\n" in message or len(message) >= LIMIT:  # CLIENT-1
        raise ValueError("a message has no line feed and at most 1023 bytes")
    if process(message) != upper(clip(message)):  # CLIENT-2
        raise ValueError("the end of the message in upper case would be lost")

def connect(host, port, deadline):
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for left, (family, kind, _, _, address) in zip(range(len(addresses), 0, -1), addresses):
        sock = socket.socket(family, kind)
        sock.settimeout(max(0.001, deadline - time.monotonic()) / left)  # CLIENT-8: equal shares
        try:
            sock.connect(address)
            sock.settimeout(None)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure

def exchange(sock, message):
    try:
        sock.sendall(message + b"\n")  # CLIENT-1, CLIENT-9
    except OSError:
        sock.makefile("rb").read(LIMIT)  # CLIENT-7: whatever comes, it is no reply
        raise
    reply = sock.makefile("rb").read(LIMIT + 1)  # CLIENT-3: to the end of the stream
    if len(reply) > LIMIT or not reply and clip(message):  # CLIENT-4, CLIENT-6
        raise ValueError(f"{len(reply)} bytes came, which is no reply")
    return reply

def fail(reason):
    print(f"client.py: {reason}", file=sys.stderr, flush=True)
    os._exit(1)  # ends other threads too

if __name__ == "__main__":
    host, port, seconds = (*sys.argv[1:], 10)[:3]
    try:
        message = sys.stdin.buffer.read()
        check(message)
        late = threading.Timer(float(seconds), fail, ["timed out"])  # CLIENT-8: for all steps
        late.start()
        with connect(host, port, time.monotonic() + float(seconds)) as connection:
            reply = exchange(connection, message)
        late.cancel()
    except (OSError, ValueError) as error:  # CLIENT-5
        fail(error)
    sys.stdout.buffer.write(reply)  # CLIENT-10
