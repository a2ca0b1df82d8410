"""A real HTTP server on loopback that can be told to misbehave."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server holds and how it behaves.

    ``break_after`` bytes of each answer the connection is cut; ``lie_bytes`` is
    added to the true Content-Length; ``failures`` answers are refused with 503;
    ``chunked`` answers name no length; a range begins ``shift_bytes`` too late.
    """

    files: dict[str, bytes]
    ranges: bool = True
    etag: str | None = '"v1"'
    break_after: int | None = None
    lie_bytes: int = 0
    chunked: bool = False
    shift_bytes: int = 0
    failures: int = 0
    delay: threading.Event | None = None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, *, with_body):
        site = self.server.site
        site.requests.append((self.command, self.path, self.headers.get("Range")))
        if site.delay:
            site.delay.wait(20)
        if site.failures > 0:
            site.failures -= 1
            self.send_error(503)
            return
        body = site.files.get(self.path.split("?")[0])
        if body is None:
            self.send_error(404)
            return
        start = 0
        wanted = self.headers.get("Range")
        if wanted and site.ranges and self.headers.get("If-Range") in (None, site.etag):
            start = int(wanted.removeprefix("bytes=").rstrip("-")) + site.shift_bytes
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        rest = body[start:]
        if site.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(rest) + site.lie_bytes))
        if site.etag:
            self.send_header("ETag", site.etag)
            self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if with_body and site.chunked:
            for position in range(0, len(rest[: site.break_after]), 100_000):
                chunk = rest[position : min(position + 100_000, site.break_after or len(rest))]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.write(b"" if site.break_after is not None and site.break_after < len(rest) else b"0\r\n\r\n")
        elif with_body:
            self.wfile.write(rest[: site.break_after])
        if with_body and (site.break_after is not None or site.lie_bytes):
            self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def serve(files: dict[str, bytes], **behaviour) -> Iterator[Site]:
    """Serve files on a free loopback port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.site = Site(files, **behaviour)
    server.site.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.site
    finally:
        server.shutdown()
        server.server_close()
