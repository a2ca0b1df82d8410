"""Shipping a run: uploads beside ``aws s3 sync`` on the same server, memory, requests, and the size of the bundle.

The server is moto's, in a process of its own; the command line of AWS is no part of the project (``pip install
awscli``): without it there is nothing beside ours, and those rows are left out.
"""

import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.commands import TOP
from benchmarks.record import Row, median

ROUNDS = 3
REGION, BUCKET = "eu-central-1", "benchmark"
SMALL = (2000, 20_000)  # files, bytes of each: small pictures
LARGE = (4, 64_000_000)  # packed data
MANY = 100_000
FEW = 2_000
LISTED = 20_000


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        return [*_sizes(scratch), *_speeds(Path(scratch)), *_many(Path(scratch))]


def _sizes(scratch: str) -> list[Row]:
    environment = {**os.environ, "DOGBREED_CACHE": f"{scratch}/bundles"}
    found = _ask(environment, "bundle")
    return [
        Row("launch", "bundle, packed", found["num_bytes"] / 1e6, "the most it may be", 1.0, "MB", 1.0, "max"),
        Row("launch", "bundle, built again unchanged", found["seconds"], "the most it may take", 0.3, "s", 1.0, "max"),
    ]


def _speeds(scratch: Path) -> list[Row]:
    """Upload the same files into an empty bucket, in turns; wall time of whole processes."""
    if not shutil.which("aws"):
        print("  aws is not installed (pip install awscli): nothing beside our uploads")
        return []
    rows = []
    for name, (count, num_bytes) in {"small": SMALL, "large": LARGE}.items():
        folder = _fill(scratch / name, count, num_bytes)
        seconds: dict[str, list[float]] = {"ours": [], "aws s3 sync": []}
        for number in range(ROUNDS):
            for who, taken in seconds.items():
                with _moto() as environment:
                    environment["DOGBREED_CACHE"] = str(scratch / f"cache {name} {number}")  # nothing is known
                    command = ["aws", "s3", "sync", "--only-show-errors", str(folder), f"s3://{BUCKET}/data"]
                    if who == "ours":
                        command = [sys.executable, "-m", "benchmarks.launch", "upload", str(folder)]
                    started = time.perf_counter()
                    subprocess.run(command, cwd=TOP, check=True, env=environment, stdout=subprocess.DEVNULL)
                    taken.append(time.perf_counter() - started)
        case = f"{count} files of {num_bytes / 1e6:g} MB, median of {ROUNDS}"
        ours, theirs = (count * num_bytes / 1e6 / median(taken) for taken in seconds.values())
        rows.append(Row("launch", case, ours, "aws s3 sync", theirs, "MB/s", 1.0))
        shutil.rmtree(folder)
    return rows


def _many(scratch: Path) -> list[Row]:
    """Upload very many small files to a server that only says yes: what our side needs for it."""
    peaks = {}
    with _yes() as (environment, server):
        for count in (FEW, MANY):
            folder = _fill(scratch / str(count), count, 100)
            environment["DOGBREED_CACHE"] = str(scratch / f"cache {count}")
            peaks[count] = _ask(environment, "upload", str(folder))["peak_mb"]
            shutil.rmtree(folder)
        folder = _fill(scratch / "listed", LISTED, 100)
        environment["DOGBREED_CACHE"] = str(scratch / "cache listed")
        _ask(environment, "upload", str(folder))
        server.is_full = True
        again = _ask(environment, "upload", str(folder))
    return [
        Row(
            "launch", f"memory, uploading {MANY:,} files", peaks[MANY], f"{FEW:,} files", peaks[FEW], "MB", 1.15, "max"
        ),
        Row("launch", f"second launch, {LISTED:,} files", again["requests"], "the most", 2, "requests", 1.0, "max"),
        Row("launch", f"second launch, {LISTED:,} files", again["seconds"], "the most", 1.0, "s", 1.0, "max"),
    ]


def _fill(folder: Path, count: int, num_bytes: int) -> Path:
    content = bytearray(os.urandom(num_bytes))
    then = time.time() - 3600  # not just now, or the next launch would read them again
    for number in range(count):
        path = folder / f"class {number % 100}" / f"picture {number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        content[:8] = number.to_bytes(8, "big")
        path.write_bytes(content)
        os.utime(path, (then, then))
    return folder


def _ask(environment: dict, *arguments: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.launch", *arguments]
    done = subprocess.run(command, cwd=TOP, check=True, env=environment, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _account(url: str) -> dict:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    own = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}
    return {**kept, **own, "AWS_ENDPOINT_URL": url, "AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def _moto():
    """Run moto's server with an empty bucket; yield the environment that leads there."""
    code = (
        "from moto.server import ThreadedMotoServer as S\ns = S(ip_address='127.0.0.1', port=0, verbose=False)\n"
        "s.start()\nprint(s.get_host_and_port()[1], flush=True)\ninput()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        body = (
            f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        )
        urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", data=body.encode(), method="PUT")).close()
        try:
            yield _account(url)
        finally:
            server.communicate("\n")


@contextmanager
def _yes():
    """Run a server that takes everything and keeps nothing; yield the environment that leads there, and the server.

    Its ``is_full`` decides whether it says that everything is there.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *arguments):
            pass

        def do_PUT(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(b"")

        def do_GET(self):
            self._answer(b"<ListBucketResult>%s</ListBucketResult>" % (_ENTRY if server.is_full else b""))

        def do_HEAD(self):
            self._answer(b"", 200 if server.is_full else 404)

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(_IDENTITY)

        def _answer(self, content, status=200):
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"x"')
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.is_full = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield _account(f"http://127.0.0.1:{server.server_address[1]}"), server
    finally:
        server.shutdown()
        server.server_close()


_ENTRY = b"<Contents><Key>x</Key><Size>1</Size></Contents>"
_IDENTITY = (
    b"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/me</Arn><UserId>me</UserId>"
    b"<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
)


# -- in a process of its own --------------------------------------------------


def _upload(folder: str) -> dict:
    from launch.aws.session import connect
    from launch.aws.storage import S3Store
    from launch.settings import LaunchSettings
    from launch.upload import upload_folder

    account = connect(LaunchSettings())
    store = S3Store(account, BUCKET)
    requests = itertools.count()  # not a list: it is memory that is measured

    def count(**_):  # what it returns would be taken for the answer
        next(requests)

    account.client("s3").meta.events.register("before-send.s3", count)
    started = time.perf_counter()
    upload_folder(store, Path(folder), "data")
    return {"seconds": time.perf_counter() - started, "requests": next(requests), "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    """The most memory of this process; what getrusage says counts the parent's from before this one's own program."""
    status = Path("/proc/self/status")
    if status.is_file():
        return float(status.read_text().partition("VmHWM:")[2].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _bundle() -> dict:
    from launch.bundle import build_bundle

    taken = []
    for _ in range(5):
        started = time.perf_counter()
        num_bytes = build_bundle().num_bytes
        taken.append(time.perf_counter() - started)
    return {"seconds": median(taken), "num_bytes": num_bytes}


if __name__ == "__main__":
    print(json.dumps(_bundle() if sys.argv[1] == "bundle" else _upload(sys.argv[2])))
