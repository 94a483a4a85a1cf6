"""A process for each connection."""
import os
import signal

from exchange import listener, ready, serve

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # leaves no zombies
with listener() as server:
    ready(server)
    while True:
        connection, _ = server.accept()
        with connection:
            if os.fork() == 0:
                server.close()
                serve(connection)
                os._exit(0)
