"""`model.compile=true`: what a step gains, and after how many steps the compiler has been paid for."""

import time

import torch
from torch import nn

from benchmarks.arithmetic import BATCH, SIZE_PX, training_step
from benchmarks.record import Row, median
from dogbreed import ImageClassifier
from dogbreed.allocator import keeping_freed_memory
from dogbreed.config.hardware import auto_precision

NETWORKS = ("resnet18", "mobilenetv2_100")
ROUNDS, WARM_UP = 5, 1


def run() -> list[Row]:
    """Time steps of the same network as it is and compiled, in turn."""
    with keeping_freed_memory():
        return [row for architecture in NETWORKS for row in _compare(architecture)]


def _compare(architecture: str) -> list[Row]:
    is_bf16 = auto_precision("cpu") == "bf16-mixed"
    eager = training_step(_net(architecture), is_bf16=is_bf16)
    compiled_net = _net(architecture)
    compiled_net.compile()
    compiled = training_step(compiled_net, is_bf16=is_bf16)
    started = time.perf_counter()
    compiled()
    first_s = time.perf_counter() - started
    seconds: dict[str, list[float]] = {"eager": [], "compiled": []}
    for _ in range(WARM_UP + ROUNDS):
        for name, step in (("compiled", compiled), ("eager", eager)):
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    eager_s, compiled_s = (median(seconds[name][WARM_UP:]) for name in ("eager", "compiled"))
    gain_s = eager_s - compiled_s
    after = f"pays after {(first_s - compiled_s) / gain_s:.0f} steps" if gain_s > 0 else "never pays"
    case = f"{architecture}, batch {BATCH}, {SIZE_PX} px, {'bfloat16' if is_bf16 else 'float32'}, compiled step"
    print(f"  {case}: {1000 * compiled_s:.0f} ms, as it is {1000 * eager_s:.0f} ms, "
          f"first step {first_s:.0f} s: {after}", flush=True)  # fmt: skip
    return [
        Row("compiling", case, 1000 * compiled_s, "not compiled", 1000 * eager_s, "ms"),
        Row("compiling", f"{architecture}, first step, compiled", first_s, "later steps", compiled_s, "s"),
    ]


def _net(architecture: str) -> nn.Module:
    torch.manual_seed(0)
    return ImageClassifier(architecture, [f"{k}" for k in range(20)], pretrained=False).net
