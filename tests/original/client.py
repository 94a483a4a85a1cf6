"""The original client, reconstructed from SPEC.md section 8, faults included: client.py HOST PORT [WORD]..."""
import socket
import sys

host, port, *words = sys.argv[1:]
message = " ".join(words)

with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
    sock.connect((host, int(port)))
    sock.sendall(bytes(message + "\n", "utf-8"))
    received = str(sock.recv(1024), "utf-8")

print(f"Sent:     {message}")
print(f"Received: {received}")
