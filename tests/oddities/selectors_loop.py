"""One thread, with epoll by way of selectors."""
import selectors
import socket
import time

from exchange import DEADLINE, listener, process, ready, request


class Connection:
    def __init__(self, stream):
        stream.setblocking(False)
        self.stream, self.data, self.is_replied = stream, b"", False
        self.deadline = time.monotonic() + DEADLINE

    def go_on(self):
        """Returns whether there is more to do."""
        try:
            chunk = self.stream.recv(65536)
            if not self.is_replied:
                self.data += chunk
                complete = request(self.data, not chunk)
                if complete is not None:
                    self.is_replied = True
                    self.stream.sendall(process(complete))  # the buffer has room for a reply
                    self.stream.shutdown(socket.SHUT_WR)
            return bool(chunk)
        except BlockingIOError:
            return True
        except OSError:
            return False


selector, connections = selectors.DefaultSelector(), {}  # in the order of their deadlines


def close(connection):
    selector.unregister(connection.stream)
    connection.stream.close()
    del connections[connection]


with listener() as server:
    server.setblocking(False)
    selector.register(server, selectors.EVENT_READ)
    ready(server)
    while True:
        first = next(iter(connections), None)
        wait = first and max(first.deadline - time.monotonic(), 0)
        for key, _ in selector.select(wait):
            if key.data is None:
                try:
                    connection = Connection(server.accept()[0])
                except OSError:
                    continue
                connections[connection] = None
                selector.register(connection.stream, selectors.EVENT_READ, connection)
            elif not key.data.go_on():
                close(key.data)
        for old in [one for one in connections if one.deadline <= time.monotonic()]:
            close(old)
