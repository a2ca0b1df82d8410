"""A real HTTP proxy in front of a server, which refuses, breaks off or answers as a test tells it."""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DROP = "drop"  # take half of the request and hang up
HALF = "half"  # send half of the answer and hang up


@dataclass
class Request:
    """What the proxy has been asked: ``number`` counts from 0, ``seen`` how often this very line has come before."""

    method: str
    path: str
    headers: dict
    number: int
    seen: int


@dataclass
class Fault:
    """An answer in place of the server's: S3's, or with ``is_query`` that of STS and IAM."""

    status: int
    code: str
    message: str = "no"
    is_query: bool = False

    def body(self):
        error = f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
        return (f"<ErrorResponse>{error}</ErrorResponse>" if self.is_query else error).encode()


@dataclass
class Proxy:
    """A running proxy; ``rule`` may be exchanged at any time.

    Args:
        url: Its address.
        rule: Gets each request; None lets it through.
        requests: All that came, in order.
    """

    url: str
    rule: Callable[[Request], object] = lambda request: None
    requests: list = field(default_factory=list)

    def count(self, method: str, part: str = "") -> int:
        return sum(request.method == method and part in request.path for request in self.requests)


def start_proxy(target: str):
    """Start a proxy in front of ``http://HOST:PORT``; return it and the function that ends it."""
    address = target.removeprefix("http://")
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *arguments):
            pass

        def handle_any(self):
            with lock:
                seen = sum((r.method, r.path) == (self.command, self.path) for r in proxy.requests)
                request = Request(self.command, self.path, dict(self.headers), len(proxy.requests), seen)
                proxy.requests.append(request)
                fault = proxy.rule(request)
            length = int(self.headers.get("Content-Length") or 0)
            if fault == DROP:
                self.rfile.read(length // 2)
                self.close_connection = True
                return
            body = self.rfile.read(length)
            if isinstance(fault, Fault):
                answer = b"" if self.command == "HEAD" else fault.body()
                self._answer(fault.status, [("Content-Type", "application/xml")], answer)
                return
            connection = http.client.HTTPConnection(address, timeout=60)
            headers = {key: value for key, value in self.headers.items() if key.lower() != "expect"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
            kept = [(k, v) for k, v in response.getheaders() if k.lower() not in ("transfer-encoding", "connection")]
            if fault == HALF:
                self._answer(response.status, kept, content[: len(content) // 2], length=len(content))
                self.close_connection = True
            else:
                self._answer(response.status, kept, content)
            connection.close()

        def _answer(self, status, headers, content, length=None):
            self.send_response_only(status)
            names = {key.lower() for key, _ in headers}
            for key, value in headers:
                if key.lower() != "content-length" or self.command == "HEAD":
                    self.send_header(key, value)
            if self.command != "HEAD" or "content-length" not in names:
                self.send_header("Content-Length", str(len(content) if length is None else length))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    return proxy, stop
