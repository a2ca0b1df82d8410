"""`model.compile=true`: the same numbers, the same names in checkpoints; one sentence where torch cannot."""

import pytest
from helpers import compose_quick
from safetensors.torch import load_file

from dogbreed import UserError, fit_run


@pytest.fixture(autouse=True)
def _forgotten():
    """Compiled code is the process's: no test sees another's."""
    import torch

    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
def test_without_a_compiler(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    import torch._inductor.config as inductor

    # torch's own way: taken back by monkeypatch, the setting would be gone for whoever compiles after us.
    with (
        inductor.patch({"cpp.cxx": ("/nowhere/g++",)}),
        pytest.raises(UserError, match=r"^model\.compile=true: torch cannot compile test_resnet here \(.*\): leave"),
    ):
        fit_run(compose_quick(tree, "model.compile=true"), tmp_path / "run")


@pytest.mark.slow
def test_the_same_numbers(tree, tmp_path):
    plain, compiled = (  # compiled code draws another dropout
        fit_run(compose_quick(tree, f"model.compile={word}", "model.dropout=0"), tmp_path / word)
        for word in ("false", "true")
    )
    for name in ("val/loss", "train/loss", "test/acc_top1"):
        assert compiled.metrics[name] == pytest.approx(plain.metrics[name], rel=1e-3)
    ours, theirs = (load_file(run.model_dir / "model.safetensors") for run in (compiled, plain))
    assert ours.keys() == theirs.keys()
