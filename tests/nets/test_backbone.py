"""Networks, heads, and weights from files and from a hub."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
from helpers import WEIGHTS
from safetensors.torch import save_file
from web import serve

from dogbreed import UserError
from dogbreed.nets.backbone import build_net, fetch_pretrained, head_modules

ARCHITECTURES = ("resnet18.tv_in1k", "mobilenetv2_100", "mobilenetv3_small_100", "test_vit", "test_convnext")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_head_for_our_classes(architecture):
    torch.manual_seed(0)  # random weights give some networks large features now and then
    size = timm.get_pretrained_cfg(architecture).input_size[-1]
    net = build_net(architecture, 7, dropout=0.3, input_size_px=size).eval()
    logits = net(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 7)
    assert logits.abs().max() < 2  # a new head begins undecided
    assert sum(p.numel() for module in head_modules(net) for p in module.parameters()) < 20_000


def test_dropout_is_at_the_head_and_only_in_training():
    net = build_net("test_resnet", 4, dropout=0.9, input_size_px=32)
    images = torch.randn(4, 3, 32, 32)
    net.train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))


def test_timm_loads_our_weights_and_we_load_theirs(tmp_path):
    theirs = timm.create_model("test_resnet", num_classes=9)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    ours = build_net("test_resnet", 9, weights=tmp_path / "w.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True))
    timm.create_model("test_resnet", num_classes=9).load_state_dict(ours.state_dict())


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module.", "net.", "checkpoint"])
def test_weights_in_many_wrappings_and_another_head(tmp_path, wrap):
    theirs = timm.create_model("test_resnet", num_classes=1000)
    state = theirs.state_dict()
    if wrap.endswith("."):
        state = {wrap + key: value for key, value in state.items()}
    content = {"state_dict": state, "epoch": 3} if wrap in ("state_dict", "checkpoint") else state
    torch.save(content, tmp_path / "w.pth")
    ours = build_net("test_resnet", 5, weights=tmp_path / "w.pth")
    assert torch.equal(ours.conv1[0].weight, theirs.conv1[0].weight)
    assert ours.get_classifier().out_features == 5


def test_weights_of_another_architecture(tmp_path):
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(
        UserError, match=r"does not belong to resnet18: of 122 tensors, \d+ missing \(.+ and \d+ more\)"
    ):
        build_net("resnet18", 5, weights=tmp_path / "w.safetensors")
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="80 missing"):
        build_net("resnet34", 5, weights=tmp_path / "w.safetensors")
    save_file(timm.create_model("resnet34").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"96 not known \(layer1\.2"):
        build_net("resnet18", 5, weights=tmp_path / "w.safetensors")
    save_file(timm.create_model("mobilenetv2_050").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="of another shape"):
        build_net("mobilenetv2_100", 5, weights=tmp_path / "w.safetensors")


class Evil:
    def __reduce__(self):
        return (os.system, ("echo unpickled > evil.txt",))


def test_code_in_a_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": torch.zeros(1), "x": Evil()}, "w.pth")
    with pytest.raises(UserError, match="must hold tensors only"):
        build_net("test_resnet", 5, weights=tmp_path / "w.pth")
    assert not (tmp_path / "evil.txt").exists()


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(UserError, match=r"none.pth does not exist"):
        build_net("test_resnet", 5, weights=tmp_path / "none.pth")
    for name in ("w.pth", "w.safetensors"):
        (tmp_path / name).write_bytes(b"hello")
        with pytest.raises(UserError, match=r"cannot be loaded: (damaged|it is no file of weights); save it"):
            build_net("test_resnet", 5, weights=tmp_path / name)
    torch.save({"note": "hello"}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds no tensors"):
        build_net("test_resnet", 5, weights=tmp_path / "w.pth")


def test_names_that_timm_does_not_know():
    with pytest.raises(UserError, match="Did you mean resnet50"):
        build_net("resnet5O", 5)
    with pytest.raises(UserError, match=r"has no weights tagged a9_in1k\. Did you mean"):
        build_net("resnet50.a9_in1k", 5)
    with pytest.raises(UserError, match="model.dropout=1.0"):
        build_net("test_resnet", 5, dropout=1.0)


# -- the hub -----------------------------------------------------------------

FETCH = "from dogbreed.nets.backbone import fetch_pretrained; print(fetch_pretrained('test_resnet.r160_in1k'))"


def run_python(code, **env):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=120)


def test_weights_come_from_a_hub_once(tmp_path):
    weights = tmp_path / "theirs.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    repo = "/timm/test_resnet.r160_in1k"
    files = {
        f"{repo}/resolve/main/model.safetensors": weights.read_bytes(),
        f"/api/models{repo}": json.dumps({"id": repo[1:], "sha": "0" * 40}).encode(),
        "/": b"hub",
    }
    with serve(files, etag='"' + "1" * 64 + '"', ranges=False) as site:
        environment = {"HF_ENDPOINT": site.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        answer = run_python(FETCH, **environment)
        assert answer.returncode == 0, answer.stderr
        file = answer.stdout.strip()
        assert Path(file).read_bytes() == weights.read_bytes()
    # The hub is gone: the cache answers.
    assert run_python(FETCH, **environment).stdout.strip() == file


def test_an_unreachable_hub_is_one_sentence_in_seconds(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    started = time.perf_counter()
    with pytest.raises(UserError, match=r"resnet18.tv_in1k cannot be fetched .*Connection refused.*model.weights=FILE"):
        fetch_pretrained("resnet18.tv_in1k")
    assert time.perf_counter() - started < 30  # not the hub's minutes of trying again
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        fetch_pretrained("resnet18.tv_in1k")


def test_architectures_without_weights():
    with pytest.raises(UserError, match="has no pretrained weights"):
        fetch_pretrained("resnet51q_missing" if timm.is_model("resnet51q_missing") else "vit_small_patch16_18x2_224")


@pytest.mark.photos
def test_the_real_weights_fit():
    net = build_net("mobilenetv2_100.ra_in1k", 20, weights=WEIGHTS)
    assert net.conv_stem.weight.abs().mean() > 0.01
