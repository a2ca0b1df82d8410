"""What a CPU computes in a step of fine-tuning: our network as `trainer.precision=auto` runs it, beside timm's own.

Both have frozen BatchNorm statistics, channels_last, a fused optimiser and memory that is kept; they take turns.
"""

import time

import timm
import torch
from torch import nn

from benchmarks.record import Row, median
from dogbreed import ImageClassifier
from dogbreed.allocator import keeping_freed_memory
from dogbreed.config.hardware import auto_precision
from dogbreed.nets.finetune import hold_statistics

NETWORKS = ("mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0", "resnet18", "resnet50", "convnext_pico",
            "vit_tiny_patch16_224")  # fmt: skip
BATCH, SIZE_PX, NUM_CLASSES = 32, 224, 20
ROUNDS, WARM_UP = 5, 1


def run() -> list[Row]:
    """Time a step of each in turn, float32 and bfloat16."""
    with keeping_freed_memory():
        return [row for architecture in NETWORKS for row in _compare(architecture)]


def _compare(architecture: str) -> list[Row]:
    torch.manual_seed(0)
    plain = timm.create_model(architecture, num_classes=NUM_CLASSES).to(memory_format=torch.channels_last)
    ours = ImageClassifier(architecture, [f"{k}" for k in range(NUM_CLASSES)], pretrained=False).net
    is_bf16 = auto_precision("cpu") == "bf16-mixed"
    steps = {
        "ours": training_step(ours, is_bf16=is_bf16),
        "timm, float32": training_step(plain, is_bf16=False),
        "timm, bfloat16": training_step(plain, is_bf16=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(WARM_UP + ROUNDS):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    seconds = {name: values[WARM_UP:] for name, values in seconds.items()}
    rows = []
    for name in list(steps)[1:]:
        theirs = median(seconds[name])
        ratio = median([one / other for one, other in zip(seconds["ours"], seconds[name], strict=True)])
        case = f"{architecture}, batch {BATCH}, {SIZE_PX} px, {'bfloat16' if is_bf16 else 'float32'}, step"
        rows.append(Row("arithmetic", case, 1000 * theirs * ratio, name, 1000 * theirs, "ms", 1.0, "max"))
        print(f"  {architecture}: {rows[-1].ours:.0f} ms, {name}: {rows[-1].peer:.0f} ms", flush=True)
    return rows


def training_step(net: nn.Module, *, is_bf16: bool):
    """Make a function that takes one step on the same random batch."""
    net.train()
    hold_statistics(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-6, fused=True)
    images = torch.randn(BATCH, 3, SIZE_PX, SIZE_PX).to(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % NUM_CLASSES

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
