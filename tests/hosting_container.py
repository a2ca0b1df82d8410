"""A container's command: serves /ping and /invocations, and does on request what a bad one does (BEHAVIOUR)."""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def reply(self, status, content):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(503 if self.server.behaviour == "sick" else 200, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(float(os.environ.get("ANSWER_S", "0")))
        if not body.startswith(b"\xff\xd8"):
            self.reply(400, {"error": "The picture cannot be decoded."})
            return
        told = {
            name: self.headers.get(name) for name in ("Content-Type", "Accept", "X-Amzn-SageMaker-Custom-Attributes")
        }
        self.reply(200, {**self.server.answer, "told": told})


def main():
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    behaviour = os.environ.get("BEHAVIOUR", "")
    if behaviour == "crash":
        print("Error: no such weights", flush=True)
        sys.exit(2)
    answer = json.loads((folder / "example.json").read_text())
    if behaviour == "lie":
        answer["top"][0]["probability"] = answer["probability"] = 0.5
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("serving", flush=True)
    server.behaviour, server.answer = behaviour, answer
    server.serve_forever(0.05)


if __name__ == "__main__":
    main()
