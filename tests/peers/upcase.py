"""An UPCASE server on threads (SPEC.md, sections 3 and 4): upcase.py [[HOST:]PORT [SECONDS]]"""
import contextlib
import re
import socket
import socketserver
import sys
import time
import unicodedata

assert unicodedata.unidata_version <= "17.0.0", "UPPER-2: this Python's Unicode is newer"
LIMIT = 1024
INCOMPLETE = re.compile(  # CAP-2, CAP-3: a proper prefix of a character of Table 3-7
    rb"(?:[\xc2-\xf4]|\xe0[\xa0-\xbf]|\xed[\x80-\x9f]|[\xe1-\xec\xee\xef][\x80-\xbf]"
    rb"|(?:\xf0[\x90-\xbf]|[\xf1-\xf3][\x80-\xbf]|\xf4[\x80-\x8f])[\x80-\xbf]?)\Z")
GAINED = {code: code + shift for shift, codes in (  # UPPER-2: new since Unicode 12.1, of Python 3.8
    (0xA641, [0x19B]), (0xA567, [0x264]), (-0x30, [0x2C5F]),
    (-1, [0x1C8A, 0xA7C1, 0xA7C8, 0xA7CA, *range(0xA7CD, 0xA7DC, 2), 0xA7F6]),
    (-0x27, {*range(0x10597, 0x105BD)} - {0x105A2, 0x105B2, 0x105BA}),
    (-0x20, range(0x10D70, 0x10D86)), (-0x1B, range(0x16EBB, 0x16ED4))) for code in codes}

def clip(data):
    kept = data if len(data) < LIMIT else INCOMPLETE.sub(b"", data[:LIMIT])  # CAP-1
    return kept.strip(b"\t\n\v\f\r ")  # TRIM-1, TRIM-2

def upper(data):
    text = data.decode("utf-8", "surrogateescape")  # UPPER-4: other bytes become U+DCxx
    return text.translate(GAINED).upper().encode("utf-8", "surrogateescape")

def process(request):  # PROC-1
    return clip(upper(clip(request)))

class Exchange(socketserver.BaseRequestHandler):
    def handle(self):
        self.deadline = time.monotonic() + self.server.seconds  # TIME-1: for all steps
        data, chunk = b"", True
        with contextlib.suppress(OSError):  # TIME-4: a time-out is an OSError too
            while chunk and len(data) < LIMIT and b"\n" not in data:  # FRAME-3, FRAME-2, FRAME-1
                chunk = self.in_time().recv(LIMIT - len(data))
                data += chunk
            self.in_time().sendall(process(data[:data.find(b"\n") + 1 or None]))  # SURPLUS-1
            self.request.shutdown(socket.SHUT_WR)  # REPLY-2
            while self.in_time().recv(65536): pass  # SURPLUS-2

    def in_time(self):
        left = self.deadline - time.monotonic()
        if left <= 0:  # TIME-2
            raise socket.timeout
        self.request.settimeout(left)
        return self.request

class Server(socketserver.ThreadingTCPServer):  # TIME-3
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 1024

if __name__ == "__main__":
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "0").rpartition(":")
    with Server((host or "127.0.0.1", int(port)), Exchange) as server:
        server.seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
        print("Servidor rodando em {}:{}".format(*server.server_address), flush=True)
        server.serve_forever()
