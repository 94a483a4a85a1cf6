"""Reads nothing before the whole request is there: it peeks (MSG_PEEK), and polls for the end."""
import select
import socket
import threading
import time

from exchange import DEADLINE, LIMIT, listener, process, ready, request

def peek(connection, deadline):
    """The request; None at the deadline."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    while time.monotonic() < deadline:
        is_ended = bool(poll.poll(1))  # milliseconds
        connection.setblocking(False)
        try:
            data = connection.recv(LIMIT, socket.MSG_PEEK)
        except BlockingIOError:
            data = b""
        complete = request(data, is_ended)
        if complete is not None:
            return complete
    return None

def serve(connection):
    deadline = time.monotonic() + DEADLINE
    with connection:
        try:
            complete = peek(connection, deadline)
            if complete is None:
                return
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            assert not complete or connection.recv(len(complete)) == complete
            connection.sendall(process(complete))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
        except OSError:
            pass

with listener() as server:
    ready(server)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=[connection], daemon=True).start()
