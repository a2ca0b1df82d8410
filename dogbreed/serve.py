"""Serve: ``python -m dogbreed.serve RUN_OR_MODEL_FOLDER --port 8080``; in a container ``serve``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence

from dogbreed.command import run_command, run_program
from dogbreed.errors import UserError

# Where SageMaker puts a model, which port it wants, and options for a command that gets no arguments.
CONTAINER_FOLDER = "/opt/ml/model"
ANYWHERE = "0.0.0.0"  # noqa: S104 -- a container is reached from outside of it
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
OPTIONS_VARIABLE = "DOGBREED_SERVE_OPTIONS"
SWITCH_S = 0.0005
EPILOG = """\
examples:
  python -m dogbreed.serve runs/NAME
  python -m dogbreed.serve runs/NAME/model --host 0.0.0.0 --port 80 --max-queue 256
  curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8080/invocations
"""


def main() -> None:
    """Run the command line."""
    run_command(lambda: serve(sys.argv[1:]))


def main_in_container() -> None:
    """Run ``serve``, as SageMaker starts a container: the model, the port and options come from the environment."""
    run_command(lambda: serve(container_arguments(sys.argv[1:])))


def container_arguments(argv: Sequence[str]) -> list[str]:
    """Return the command line of a container: all addresses, SageMaker's place and port, and what is given besides.

    Raises:
        UserError: the options in the environment cannot be read.
    """
    try:
        options = shlex.split(os.environ.get(OPTIONS_VARIABLE, ""))
    except ValueError as error:
        msg = f"{OPTIONS_VARIABLE} cannot be read ({error}): give options as on a command line."
        raise UserError(msg) from error
    given = [*options, *argv]
    folder = [] if any(not word.startswith("-") for word in argv) else [CONTAINER_FOLDER]
    return [*folder, "--host", ANYWHERE, "--port", os.environ.get(PORT_VARIABLE) or "8080", *given]


def serve(argv: Sequence[str]) -> int:
    """Serve a model until SIGTERM or Ctrl-C.

    Args:
        argv: Command line without the program's name.

    Returns:
        0, after the requests that had begun are answered.

    Raises:
        UserError: no model folder, or one that is damaged; the port is in use; a wrong option.
    """
    started = time.perf_counter()
    args = _parse(argv)
    # Before torch comes: its threads would otherwise wait for each other by counting, and on a busy machine take the
    # cores from whom they wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A thread that has computed a layer waits so long for Python while others use it.
    sys.setswitchinterval(SWITCH_S)
    from dogbreed.model_description import find_model_folder, read_description
    from dogbreed.serving.web.guards import is_loopback
    from dogbreed.serving.web.listening import listen
    from dogbreed.serving.web.running import run_server
    from dogbreed.serving.web.settings import Bounds, Wishes

    read_description(find_model_folder(args.model))  # said before anything is announced; the weights are checked later
    listener = listen(args.host, args.port)
    name = f"[{args.host}]" if ":" in args.host else args.host
    port = listener.getsockname()[1]
    here = f"http://{'127.0.0.1' if args.host in (ANYWHERE, '::') else name}:{port}"
    _say(f"http://{name}:{port}  (Ctrl-C ends it)")
    _say(f"  curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' {here}/invocations")
    wishes = Wishes(
        args.model,
        args.device,
        args.threads,
        args.max_batch,
        args.max_wait_ms,
        args.max_queue,
        is_private=is_loopback(args.host),
        logs_access=args.access_log,
    )
    try:
        has_ended = run_server(listener, wishes, Bounds(), _say, started)
    except KeyboardInterrupt:  # a signal before the server listened to signals
        has_ended = False
    if not has_ended:  # torch is still being imported, or a batch is computed that nobody waits for
        sys.stdout.flush()
        os._exit(0)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dogbreed.serve",
        description="Serve a trained model: a page at /, and SageMaker's contract, GET /ping and POST /invocations.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="RUN_OR_MODEL_FOLDER", help="what python -m dogbreed.train has written")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="0 for any that is free (default: 8080)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 for all (default: 127.0.0.1, this machine)"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="that compute (default: one a core)")
    parser.add_argument("--max-batch", type=int, metavar="N", help="pictures in a forward pass")
    parser.add_argument("--max-wait-ms", type=float, metavar="N", help="a free network waits for pictures in decoding")
    parser.add_argument("--max-queue", type=int, metavar="N", help="pictures that may wait; more are answered with 429")
    parser.add_argument("--access-log", action="store_true", help="print a line for each request")
    args = parser.parse_args(argv)
    bounds = {"--port": (args.port, 0, 65535), "--threads": (args.threads, 1, 1024)}
    bounds |= {"--max-batch": (args.max_batch, 1, 4096), "--max-queue": (args.max_queue, 1, 100_000)}
    bounds["--max-wait-ms"] = (args.max_wait_ms, 0, 10_000)
    for option, (value, least, most) in bounds.items():
        if value is not None and not least <= value <= most:
            msg = f"{option} {value} must be from {least} to {most}."
            raise UserError(msg)
    return args


if __name__ == "__main__":
    run_program(main)
