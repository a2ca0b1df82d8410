"""Build a timm network with a head for our classes, and find weights for it."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from dogbreed.architectures import pretrained_cfg
from dogbreed.errors import UserError, shorten
from dogbreed.files import user_cache_dir
from dogbreed.nets.folding import quicken

WAYS_OUT = (
    "model.weights=FILE (.safetensors or .pth from another machine), model.pretrained=false (train from scratch; in "
    "Python weights=FILE, pretrained=False), "
    "or a copy of the hub's cache folder (HF_HOME)"
)
PROBE_TIMEOUT_S = 10


def build_net(
    architecture: str,
    num_classes: int,
    *,
    dropout: float = 0.0,
    input_size_px: int | None = None,
    weights: Path | None = None,
) -> nn.Module:
    """Build a timm network whose last layer has one output per class.

    The head is the architecture's own: pooling, dropout, one linear layer. The
    state dict is therefore timm's, and any timm user can load our weights.

    Args:
        architecture: A timm name, with or without a tag.
        num_classes: K, >= 2.
        dropout: Share of features dropped before the last layer, 0 <= p < 1.
        input_size_px: Input side for architectures that fix it (transformers).
        weights: File with pretrained weights, as `load_weights` takes it; random without.

    Returns:
        ``(B, 3, S, S)`` normalised pixels in, ``(B, K)`` logits out.

    Raises:
        UserError: the architecture is unknown, cannot take this input, or the
            weights belong to another one.
    """
    if not 0 <= dropout < 1:
        msg = f"model.dropout={dropout} must be at least 0 and below 1."
        raise UserError(msg)
    fixed: Any = (
        {"img_size": input_size_px} if pretrained_cfg(architecture).get("fixed_input_size") and input_size_px else {}
    )
    try:
        net = timm.create_model(architecture, pretrained=False, num_classes=num_classes, drop_rate=dropout, **fixed)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        msg = f"model.architecture={architecture} cannot be built with {input_size_px} px pictures ({error})."
        raise UserError(msg) from error
    _init_head(net)
    quicken(net)
    if weights:
        load_weights(net, weights, architecture)
    return net


def head_modules(net: nn.Module) -> list[nn.Module]:
    """Return the layers that turn features into logits; the rest is the backbone."""
    classifier = net.get_classifier()  # type: ignore[operator]
    return list(classifier) if isinstance(classifier, (tuple, list)) else [classifier]


def backbone_layers(net: nn.Module) -> tuple[dict[str, int], int]:
    """Number the layers of the backbone from the input to the head, as timm groups them.

    Returns:
        Layer by parameter name, from 0 at the input, without the head's own; and how many layers there are: 1
        where timm does not say.
    """
    from timm.models._manipulate import group_with_matcher

    head = {id(p) for module in head_modules(net) for p in module.parameters()}
    named = [(name, p) for name, p in net.named_parameters() if id(p) not in head]
    if not hasattr(net, "group_matcher"):
        return {name: 0 for name, _ in named}, 1
    matcher = net.group_matcher(coarse=False)  # type: ignore[operator]
    layer_of: dict[str, int] = group_with_matcher(iter(named), matcher, reverse=True)
    used = sorted(set(layer_of.values()))  # a matcher may leave numbers out, and the head's is gone
    return {name: used.index(layer) for name, layer in layer_of.items()}, len(used)


def _init_head(net: nn.Module) -> None:
    """Begin with logits near zero.

    Some architectures draw the last layer for 1,000 classes so wide (MobileNets:
    ±1/sqrt(K)) that a new head of ten classes starts at a loss of 6 instead of
    ln 10 and never makes up for it in a short run.
    """
    for module in head_modules(net):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def fetch_pretrained(architecture: str) -> Path:
    """Find the architecture's pretrained weights in the cache or on the hub.

    Args:
        architecture: A timm name; without a tag, timm's default weights.

    Returns:
        A file that `load_weights` takes.

    Raises:
        UserError: there are no pretrained weights, or they cannot be fetched.
    """
    cfg = pretrained_cfg(architecture)
    if cfg.get("hf_hub_id"):
        return _fetch_from_hub(
            architecture, str(cfg["hf_hub_id"]), str(cfg.get("hf_hub_filename") or "model.safetensors")
        )
    if cfg.get("url"):
        from dogbreed.download import download

        url = str(cfg["url"])
        file = download(url, user_cache_dir() / "weights" / url.rsplit("/", 1)[-1])
        _check_hash(file, url)
        return file
    msg = f"timm has no pretrained weights for {architecture}: set model.pretrained=false or model.weights=FILE."
    raise UserError(msg)


def load_weights(net: nn.Module, file: Path, architecture: str) -> None:
    """Load a backbone's weights from a file, in place; the head's too where it fits.

    Args:
        net: Network made by `build_net`.
        file: ``.safetensors``, or a ``.pth``/``.pt``/``.ckpt`` state dict; code in
            a pickle is never run.
        architecture: Its name, for the message.

    Raises:
        UserError: the file cannot be read, or holds weights of another architecture.
    """
    ours = net.state_dict()
    theirs = _strip_prefixes(_read_state_dict(file), ours)
    head = {id(p) for module in head_modules(net) for p in module.parameters()}
    head_keys = {name for name, p in net.named_parameters() if id(p) in head}
    theirs = {k: v for k, v in theirs.items() if k not in head_keys or v.shape == ours[k].shape}
    optional = head_keys | {key for key in ours if key.endswith("num_batches_tracked")}
    missing = [key for key in ours if key not in theirs and key not in optional]
    # A deeper sibling holds all our tensors and more in the same parts (resnet34 in resnet18);
    # whole parts that we lack, a distillation head say, may be left over.
    parts = {key.split(".")[0] for key in ours}
    unexpected = [key for key in theirs if key not in ours and key.split(".")[0] in parts]
    reshaped = [key for key in theirs if key in ours and theirs[key].shape != ours[key].shape]
    if missing or reshaped or unexpected:
        details = "; ".join(
            f"{len(keys)} {what} ({shorten(keys, 3)})"
            for what, keys in (("missing", missing), ("of another shape", reshaped), ("not known", unexpected))
            if keys
        )
        msg = f"model.weights={file} does not belong to {architecture}: of {len(ours)} tensors, {details}."
        raise UserError(msg)
    net.load_state_dict({key: value for key, value in theirs.items() if key in ours}, strict=False)


def _fetch_from_hub(architecture: str, repo: str, filename: str) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repo, filename)
    if isinstance(cached, str):
        return Path(cached)
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        _probe(endpoint)
        return Path(hf_hub_download(repo, filename))
    except Exception as error:  # the hub's client lets those of its HTTP libraries through
        reason = getattr(error, "reason", None) or error.__cause__ or error
        msg = (
            f"The pretrained weights of {architecture} cannot be fetched from {endpoint} ({reason}). "
            f"Ways out: {WAYS_OUT}."
        )
        raise UserError(msg) from error


def _check_hash(file: Path, url: str) -> None:
    """Compare a file with the beginning of its SHA-256 in its name (``resnet18-f37072fd.pth``), where there is one."""
    expected = re.search(r"-([0-9a-f]{8,})\.\w+$", file.name)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if expected and not digest.startswith(expected[1]):
        file.unlink()
        msg = f"{url} did not arrive as it was sent (its checksum differs): call again, or {WAYS_OUT}."
        raise UserError(msg)


def _probe(endpoint: str) -> None:
    """Fail in seconds where the hub's client would retry for half a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        msg = "HF_HUB_OFFLINE is set"
        raise OSError(msg)
    request = urllib.request.Request(endpoint, method="HEAD", headers={"User-Agent": "dogbreed"})
    try:
        urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # it answers, that is enough


def check_weights(file: Path) -> None:
    """Refuse weights that are no file.

    Raises:
        UserError: names it.
    """
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        msg = f"model.weights={file} {what}: give a .safetensors or .pth file."
        raise UserError(msg)


def _begins_as_torch_saves(file: Path) -> bool:
    """Say whether a file is a zip archive or a pickle."""
    with file.open("rb") as stream:
        return stream.read(2).startswith((b"PK", b"\x80"))


def _read_state_dict(file: Path) -> dict[str, Tensor]:
    check_weights(file)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if file.suffix == ".safetensors":
            hint = "damaged"
        elif _begins_as_torch_saves(file):
            hint = "it must hold tensors only (a state dict), no pickled objects"
        else:
            hint = "it is no file of weights"
        msg = f"model.weights={file} cannot be loaded: {hint}; save it again as .safetensors or as a state dict."
        raise UserError(msg) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = (
        {key: value for key, value in content.items() if isinstance(value, Tensor)} if isinstance(content, dict) else {}
    )
    if not tensors:
        msg = f"model.weights={file} holds no tensors by name: give a state dict."
        raise UserError(msg)
    return tensors


def _strip_prefixes(state: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop what wrappers put before every name (DataParallel, compile, a Lightning module)."""
    for prefix in ("module.", "_orig_mod.", "net.", "model.", "backbone."):
        if state and not any(key in ours for key in state):
            stripped = {key.removeprefix(prefix): value for key, value in state.items()}
            if any(key in ours for key in stripped):
                return stripped
    return state
