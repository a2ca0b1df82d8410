"""Clients of a server, many at a time, in a process of their own: ``python many_clients.py '{"port": …}'``.

Each of the connections asks, waits for the answer, checks it and asks again. Standard library alone.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

TOLERANCE = 1e-4


async def _ask(reader, writer, head, body):
    """Send a request; return status, headers and body of the answer."""
    writer.write(head)
    writer.write(body)
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:] if line)}
    answer = await reader.readexactly(int(headers[b"content-length"]))
    return int(lines[0].split()[1]), headers, answer


class Load:
    """What clients send, and what has come of it."""

    def __init__(self, settings):
        self.port, self.seconds = settings["port"], settings["seconds"]
        self.path = settings.get("path", "/invocations")
        self.patience_s = settings.get("patience_s", 60)
        self.obeys = settings.get("obeys_retry_after", False)
        self.files = settings["files"]
        self.expected = settings.get("expected")  # by file: label and probability
        self.bodies = [Path(file).read_bytes() for file in self.files]
        self.statuses, self.failures = Counter(), Counter()
        self.latencies_s, self.wrong = [], []
        self.num_asked = 0

    def head(self, number):
        body = self.bodies[number]
        lines = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Content-Type: image/jpeg"]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()

    async def client(self, until):
        connection = None
        while (started := time.perf_counter()) < until:
            number = self.num_asked % len(self.files)
            self.num_asked += 1
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", self.port)
                asked = _ask(*connection, self.head(number), self.bodies[number])
                status, headers, answer = await asyncio.wait_for(asked, self.patience_s)
            except (OSError, EOFError, TimeoutError) as error:
                self.failures[type(error).__name__] += 1
                if connection:
                    connection[1].close()
                connection = None
                await asyncio.sleep(0.05)
                continue
            if headers.get(b"connection") == b"close":
                connection[1].close()
                connection = None
            self.statuses[status] += 1
            if status == 200:
                self.latencies_s.append(time.perf_counter() - started)
                self.check(number, answer)
            elif self.obeys and b"retry-after" in headers:
                await asyncio.sleep(float(headers[b"retry-after"]))
        if connection:
            connection[1].close()

    def check(self, number, answer):
        if self.expected is not None:
            label, probability = self.expected[number]
            made = json.loads(answer)
            if made["label"] != label or abs(made["probability"] - probability) > TOLERANCE:
                self.wrong.append([self.files[number], made["label"], made["probability"]])

    async def run(self, num_clients):
        started = time.perf_counter()
        await asyncio.gather(*(self.client(started + self.seconds) for _ in range(num_clients)))
        seconds = time.perf_counter() - started
        ordered = sorted(self.latencies_s)
        used = os.times()
        return {
            "seconds": seconds,
            "per_second": len(ordered) / seconds,
            "statuses": dict(self.statuses),
            "failures": dict(self.failures),
            "wrong": self.wrong,
            "p50_ms": 1000 * ordered[len(ordered) // 2] if ordered else None,
            "p99_ms": 1000 * ordered[int(len(ordered) * 0.99)] if ordered else None,
            "cpu_s": used.user + used.system,
        }


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(Load(given).run(given["clients"]))))
