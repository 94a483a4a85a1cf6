"""48 processes that accept from one listener, and serve one connection at a time."""
import os
import socket

from exchange import listener, ready, serve

with listener() as server:
    parent = os.getpid()
    for _ in range(47):
        if os.fork() == 0:
            break
    else:
        ready(server)
    server.settimeout(1)
    while parent in (os.getpid(), os.getppid()):  # a child does not outlive its parent
        try:
            connection, _ = server.accept()
        except socket.timeout:
            continue
        with connection:
            serve(connection)
