"""A server before the real one that can keep it from answering, for the page to cope with."""

import http.client
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# What belongs to one connection.
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date"}


@dataclass
class Front:
    """Stands before the server and passes everything on, but for what it has been told.

    ``refusals`` are given to the next POSTs instead: (status, headers, body). While ``gate`` is not set, POSTs wait.
    As many times as ``num_loading`` says, the model is still being loaded.
    """

    upstream: str
    url: str = ""
    refusals: list = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    num_loading: int = 0
    posts: list = field(default_factory=list)  # path, headers, body
    change: object = None  # of an answer's bytes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/model" and self.server.front.num_loading > 0:
            self.server.front.num_loading -= 1
            self._answer(503, {}, b'{"error": "The model is being loaded."}')
        else:
            self._pass_on(b"")

    def do_POST(self):
        front = self.server.front
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        front.posts.append((self.path, dict(self.headers), body))
        front.gate.wait(20)
        if front.refusals:
            self._answer(*front.refusals.pop(0))
        else:
            self._pass_on(body)

    def _pass_on(self, body):
        front, place = self.server.front, urlsplit(self.server.front.upstream)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
        # As the server's own page would have it, which is asked from its own origin.
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {*_HOP, "origin"}}
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            found = answer.read()
        except OSError:
            self.close_connection = True  # as whoever is not there
            return
        finally:
            connection.close()
        if front.change and self.command == "POST":
            found = front.change(found)
        self._answer(answer.status, dict(answer.getheaders()), found)

    def _answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def front_of(upstream):
    """Put a `Front` before a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    front = server.front = Front(upstream, f"http://127.0.0.1:{server.server_port}")
    front.gate.set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield front
    finally:
        front.gate.set()
        server.shutdown()
        server.server_close()
