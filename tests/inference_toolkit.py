"""AWS's toolkit, which calls our four functions in SageMaker's classic containers, in a side environment.

As a script it drives AWS's handler service as the model server does; the model server's own context is TorchServe's.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

WHEELS = ("torchserve==0.12.0",)  # of which the context is used
# There are no wheels of these.
SOURCES = ("sagemaker-pytorch-inference==2.0.25", "sagemaker-inference==1.10.1")


def inference_toolkit_python() -> Path:
    """Return the interpreter of an environment that has the toolkit; made if it is not there."""
    from side_environment import CACHE

    from launch.toolkit.side_environment import python_of, side_environment

    return python_of(side_environment(CACHE / "dogbreed-tests", WHEELS, more=SOURCES, finish=_unpack))


def _unpack(packages: Path) -> None:
    from launch.toolkit.side_environment import run_pip

    for requirement in SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            run_pip("download", "--no-deps", "--no-build-isolation", "--dest", folder, requirement)
            with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as stream:
                stream.extractall(folder, filter="data")
            for package in Path(folder).glob("*/src/sagemaker_*"):
                if package.is_dir() and package.suffix != ".egg-info":
                    shutil.copytree(package, packages / package.name, dirs_exist_ok=True)


def drive(model_dir: str) -> None:
    """Answer the requests on standard input: a list of ``body`` in base64 and ``headers``; print what comes of each."""
    from sagemaker_pytorch_serving_container.handler_service import HandlerService
    from ts.context import Context, RequestProcessor

    service = HandlerService()
    context = Context("model", model_dir, {}, 1, None, "0.12.0")
    service.initialize(context)
    outcomes = []
    for request in json.load(sys.stdin):
        context.request_ids = {0: "1"}
        context.request_processor = [RequestProcessor(request["headers"])]
        found = service.handle([{"body": bytearray(base64.b64decode(request["body"]))}], context)
        status, phrase = context.get_response_status(0)
        text = found[0].decode() if isinstance(found[0], (bytes, bytearray)) else found[0]
        outcomes.append(
            {"status": status, "phrase": phrase, "type": context.get_response_content_type(0), "text": text}
        )
    json.dump(
        {"outcomes": outcomes, "smdebug": "smdebug" in sys.modules, "lightning": "lightning" in sys.modules}, sys.stdout
    )


if __name__ == "__main__":
    drive(sys.argv[1])
