"""What the controls in Python share: a listener, and a right exchange."""
import pathlib
import socket
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parent.parent / "peers"))
from upcase import LIMIT, process

DEADLINE = 5.0  # seconds


def listener():
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


def ready(server):
    print("Servidor rodando em {}:{}".format(*server.getsockname()), flush=True)


def request(data, is_ended):
    """The request in what has come; None if it is not complete."""
    data = data[:LIMIT]
    line, lf, _ = data.partition(b"\n")
    return line + lf if lf or is_ended or len(data) == LIMIT else None


def serve(connection):
    deadline = time.monotonic() + DEADLINE

    def in_time():
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        if time.monotonic() >= deadline:
            raise socket.timeout
        return connection

    try:
        data, is_ended = b"", False
        while (complete := request(data, is_ended)) is None:
            chunk = in_time().recv(LIMIT)
            data, is_ended = data + chunk, not chunk
        in_time().sendall(process(complete))
        connection.shutdown(socket.SHUT_WR)
        while in_time().recv(65536):
            pass
    except OSError:  # a time-out is one too
        pass
