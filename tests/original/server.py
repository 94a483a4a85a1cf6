"""The original server, reconstructed from SPEC.md section 8, faults included: server.py HOST PORT"""
import socketserver
import sys


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.data = self.request.recv(1024).strip()
        print(f"Recebido de {self.client_address[0]}:")
        print(self.data)
        self.request.sendall(self.data.upper())


if __name__ == "__main__":
    host, port = sys.argv[1], int(sys.argv[2])
    with socketserver.TCPServer((host, port), Handler) as server:
        # The address that is bound, so that port 0 can stand for a free one.
        print("Servidor rodando em {}:{}".format(*server.server_address))
        server.serve_forever()
