"""What a run's result depends on, as two short hashes: its configuration and its data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dogbreed.config.hashing import config_hash, hash_of
from dogbreed.data.candidates import read_manifest, walk_tree
from dogbreed.data.storage import PACK_JSON, is_packed, storage_of
from dogbreed.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Fingerprint(NamedTuple):
    """Two runs with the same fingerprint come to the same result.

    Args:
        config: Hash of the composed configuration without what does not change the result.
        data: Hash of what it names on disk: pictures and weights.
    """

    config: str
    data: str


def fingerprint_of(cfg: DictConfig) -> Fingerprint:
    """Compute both hashes of a composed configuration, before any ``auto`` is decided."""
    return Fingerprint(config_hash(cfg), data_hash(cfg))


def data_hash(cfg: DictConfig) -> str:
    """Hash names and sizes of the pictures, and the weights that a configuration names. It opens no picture.

    What is missing or cannot be read gets a hash, too: the run itself says what is wrong.
    """
    try:
        return hash_of(json.dumps([_describe_pictures(cfg), _describe_weights(cfg)], default=str))
    except (OSError, UserError) as error:
        return f"unreadable: {error}"


def _describe_pictures(cfg: DictConfig) -> Any:
    from omegaconf import OmegaConf

    if is_packed(cfg.data.root):  # its index names every archive and picture
        return hashlib.sha256(storage_of(str(cfg.data.root)).read(PACK_JSON)).hexdigest()
    root, manifest = (Path(str(cfg.data[key])).expanduser() if cfg.data[key] else None for key in ("root", "manifest"))
    if manifest:
        folder = root or manifest.parent
        return [_sha256(manifest), _sizes(folder, (item.path for item in read_manifest(manifest)))]
    if root:
        return _sizes(root, (item.path for item in walk_tree(root)))
    source = OmegaConf.to_container(cfg.data.source, resolve=True) if cfg.data.source else None
    return {key: value for key, value in source.items() if key != "folder"} if isinstance(source, dict) else None


def _sizes(root: Path, paths: Any) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        try:
            size_bytes = (root / path).stat().st_size
        except OSError:
            size_bytes = -1
        digest.update(f"{path}\0{size_bytes}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _describe_weights(cfg: DictConfig) -> str | None:
    return _sha256(Path(str(cfg.model.weights)).expanduser()) if cfg.model.weights else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
