"""A short hash of what in a configuration decides about a run's result."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Raise it when checkpoints change so that older ones do not fit any more.
VERSION = 1

# Keys that do not change what is learned: where things go, how often we look, how many help.
_IRRELEVANT = (
    "diagnose",
    "from_sweep",
    "hydra",
    "launch",
    "logger",
    "origin",
    "report",
    "resume",
    "sweep",
    "trial",
    "checkpoint_dir",
    "checkpoint_every_s",
    "test_after_fit",
    "data.num_workers",
    "data.cache_max_gb",
    "trainer.log_every_n_steps",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.default_root_dir",
    "trainer.detect_anomaly",
    "trainer.profiler",
)
# Keys that name places; what is found there is in the data's hash.
_PLACES = ("data.root", "data.manifest", "data.source.folder", "model.weights")


def config_hash(cfg: DictConfig) -> str:
    """Hash a composed configuration without what does not change the result. It reads no file."""
    from omegaconf import OmegaConf

    kept = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in _IRRELEVANT])
    plain = OmegaConf.to_container(kept, resolve=True)
    assert isinstance(plain, dict)
    for name in (*_IRRELEVANT, *_PLACES):
        *parents, key = name.split(".")
        node: Any = plain
        for parent in parents:
            node = (node or {}).get(parent)
        if isinstance(node, dict) and key in node:
            # A place that is named is not the same as none.
            node[key] = node[key] is not None if name in _PLACES else None
    return hash_of(json.dumps([VERSION, plain], sort_keys=True, default=str))


def hash_of(text: str) -> str:
    """Return 16 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
