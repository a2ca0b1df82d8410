"""Names of network architectures, as timm knows them, and what belongs to their weights."""

from __future__ import annotations

from typing import Any

import timm

from dogbreed.errors import UserError, did_you_mean


def pretrained_cfg(architecture: str) -> dict[str, Any]:
    """Look up what timm records about an architecture's weights.

    Args:
        architecture: A timm name, with or without the tag of its weights:
            ``resnet50``, ``resnet50.tv_in1k``.

    Returns:
        timm's ``pretrained_cfg`` as a dict: ``input_size``, ``mean``, ``std``,
        ``interpolation``, ``crop_pct``, ``num_classes``, ``hf_hub_id``, …

    Raises:
        UserError: timm knows no such name or no such tag.
    """
    base, _, tag = architecture.partition(".")
    if not timm.is_model(base):
        msg = f"model.architecture={architecture} is no architecture of timm. {did_you_mean(base, timm.list_models())}"
        raise UserError(msg.strip())
    try:
        cfg = timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{base}.*")]
        msg = f"model.architecture={architecture}: {base} has no weights tagged {tag}. {did_you_mean(tag, tags)}"
        raise UserError(msg.strip()) from error
    return dict(cfg.to_dict()) if cfg else {}  # type: ignore[no-untyped-call]


def input_size_px(architecture: str) -> int:
    """Return the side in pixels of the square input that the weights were trained with."""
    return int(pretrained_cfg(architecture).get("input_size", (3, 224, 224))[-1])
