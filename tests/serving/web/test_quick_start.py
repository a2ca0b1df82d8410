"""What is imported without torch's compiler works, and so does the compiler afterwards."""

import subprocess
import sys

CODE = """
import sys
from dogbreed.serving.web.quick_start import without_compiler

with without_compiler():
    import timm, torchvision
assert "torch._dynamo" not in sys.modules
assert "torch._dynamo.utils" not in sys.modules

import torch
assert torch.compiler.disable.__module__ == "torch.compiler"
boxes = [torch.tensor([[0.0, 0.0, 4.0, 4.0]])]
assert torchvision.ops.roi_align(torch.rand(1, 3, 8, 8), boxes, 2).shape == (1, 3, 2, 2)
assert sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu") is True
assert "torch._dynamo" in sys.modules
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
with without_compiler():  # it is there now
    import torch._dynamo.utils
    assert torch._dynamo.utils.counters is not None
print("all is well")
"""


def test_without_the_compiler_and_with_it_afterwards():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.stdout == "all is well\n", done.stderr
