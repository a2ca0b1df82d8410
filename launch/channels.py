"""Which paths of a configuration travel with a job, as which channel, and what they are called over there.

A channel is a folder of the job, ``/opt/ml/input/data/NAME``, which the toolkit there names in ``SM_CHANNEL_NAME``.
The override that names the path is replaced by one with that variable; a path that came from a preset or an experiment
gets one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.errors import UserError
from launch.names import key_of
from launch.overrides import replace_override

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from launch.settings import LaunchSettings

# Keys that name places of this machine at which a job has nothing: what they are there.
_PLACES_HERE = {"data.cache": "auto", "data.source.folder": "null", "checkpoint_dir": "null"}


@dataclass(frozen=True)
class Channel:
    """What one channel brings to a job.

    Args:
        name: ``data``, ``manifest``, ``weights``; for a job without a network ``code``, ``pretrained``, ``wheels``.
        source: A file or folder of this machine, or its ``s3://`` address.
        key: Key of the configuration that names it; None for what no key names.
        input_mode: ``File`` or ``FastFile``.
    """

    name: str
    source: Path | str
    key: str | None = None
    input_mode: str = "File"

    @property
    def is_local(self) -> bool:
        """Say whether it must be uploaded first."""
        return isinstance(self.source, Path)


@dataclass(frozen=True)
class Routing:
    """What travels, and the overrides that find it over there.

    Args:
        channels: The pictures first.
        overrides: For the job.
        replaced: Key to its text over there, of what is another place there.
    """

    channels: tuple[Channel, ...]
    overrides: tuple[str, ...]
    replaced: Mapping[str, str]


def route(
    cfg: DictConfig,
    overrides: Sequence[str],
    settings: LaunchSettings,
    *,
    pretrained: Path | str | None = None,
    wheels: Path | str | None = None,
) -> Routing:
    """Find out what travels with a job.

    Args:
        cfg: The composed configuration; relative paths are relative to the working directory.
        overrides: Those of the job (`launch.overrides.job_overrides`).
        settings: Input mode and network isolation.
        pretrained: The hub's weights of the architecture: a file, or a cache folder that the container makes known.
        wheels: Folder of libraries for a job that reaches no registry.

    Raises:
        UserError: a path is neither a file or folder here nor an address in S3, or the job could not reach it.
    """
    _check_reach(cfg, settings)
    channels: list[Channel] = []
    replaced = _places_there(cfg)
    for channel, text in _data(cfg, settings):
        channels.append(channel)
        assert channel.key
        replaced[channel.key] = text
    if cfg.model.weights is not None:
        source = _source("model.weights", cfg.model.weights, is_folder=False)
        channels.append(Channel("weights", source, "model.weights"))
        replaced["model.weights"] = _there("weights", _file_name(source))
    if pretrained is not None:
        channels.append(Channel("pretrained", pretrained))
        if isinstance(pretrained, Path) and pretrained.is_file():
            replaced["model.weights"] = _there("pretrained", _file_name(pretrained))
    if wheels is not None:
        channels.append(Channel("wheels", wheels))
    changed = list(overrides)
    for key, text in replaced.items():
        changed = replace_override(changed, key, text)
    return Routing(tuple(channels), tuple(changed), replaced)


def needs_hub_weights(cfg: DictConfig) -> bool:
    """Say whether a run begins with weights that the hub has, and so with a download where they are not at hand."""
    from_source = cfg.data.root is None and cfg.data.manifest is None
    suits = bool(cfg.data.auto.pretrained) or not from_source
    wanted = suits if cfg.model.pretrained == "auto" else bool(cfg.model.pretrained)
    return wanted and cfg.model.weights is None


def _data(cfg: DictConfig, settings: LaunchSettings) -> list[tuple[Channel, str]]:
    """Return channels of the pictures and of their list, each with its key's new text."""
    root, manifest, mode = cfg.data.root, cfg.data.manifest, settings.input_mode
    if root is None and manifest is None and cfg.data.source is None:
        msg = "No pictures are named: give data.root=DIR, or data.manifest=FILE.csv."
        raise UserError(msg)
    found = []
    is_streamed = root is not None and _is_address(root) and bool(cfg.data.packed)
    if root is not None and not is_streamed:
        found.append((Channel("data", _source("data.root", root, is_folder=True), "data.root", mode), _there("data")))
    if manifest is not None:
        source = _source("data.manifest", manifest, is_folder=False)
        text = _there("manifest", _file_name(source))
        if root is None:  # its pictures are relative to it
            source = source.parent if isinstance(source, Path) else source.rpartition("/")[0] + "/"
        found.append((Channel("manifest", source, "data.manifest", mode if root is None else "File"), text))
    return found


def _source(key: str, value: object, *, is_folder: bool) -> Path | str:
    text = str(value)
    if _is_address(text):
        if not key_of(text)[1] and not is_folder:
            msg = f"{key}={text} names a bucket and no file in it: give s3://BUCKET/PATH/FILE."
            raise UserError(msg)
        return text
    path = Path(text).expanduser().absolute()
    if not (path.is_dir() if is_folder else path.is_file()):
        what = "folder" if is_folder else "file"
        other = "a file, not a folder" if path.is_file() else "a folder, not a file" if path.is_dir() else "not there"
        msg = f"{key}={text} is {other}: give a {what} of this machine, or its address, s3://BUCKET/…"
        raise UserError(msg)
    return path


def _is_address(value: object) -> bool:
    """Tell an address from a path; one that is no S3 address is refused.

    Raises:
        UserError: it has another scheme.
    """
    if "://" not in str(value):
        return False
    key_of(str(value))
    return True


def _there(channel: str, name: str = "") -> str:
    """Write where a channel's file is in the job, in Hydra's grammar."""
    folder = f"${{oc.env:SM_CHANNEL_{channel.upper()}}}"
    if not name:
        return folder
    if re.fullmatch(r"[\w.-]+", name, flags=re.ASCII):
        return f"{folder}/{name}"
    escaped = re.sub(r'(\\+)(?="|$)', r"\1\1", name).replace('"', '\\"').replace("${", "\\${")
    return f'"{folder}/{escaped}"'


def _file_name(source: Path | str) -> str:
    return source.name if isinstance(source, Path) else source.rstrip("/").rpartition("/")[2]


def _check_reach(cfg: DictConfig, settings: LaunchSettings) -> None:
    """Refuse what a job without a network cannot reach."""
    from omegaconf import OmegaConf

    if not settings.network_isolation:
        return
    if cfg.data.root is not None and _is_address(cfg.data.root) and cfg.data.packed:
        msg = (
            f"data.root={cfg.data.root} is read while the run trains, which launch.network_isolation=true forbids: "
            "leave data=streaming out, and the pictures are copied to the machine first."
        )
        raise UserError(msg)
    url = OmegaConf.select(cfg, "data.source.url")
    if url and cfg.data.root is None and cfg.data.manifest is None:
        msg = (
            f"{url} is fetched on first use, which launch.network_isolation=true forbids: fetch it here first and give "
            "data.root=DIR."
        )
        raise UserError(msg)


def _places_there(cfg: DictConfig) -> dict[str, str]:
    """Return, by key, what a job has in place of places of this machine at which it finds nothing."""
    from omegaconf import OmegaConf

    if str(cfg.resume) not in ("auto", "never"):
        msg = f"resume={cfg.resume} is a run of this machine, which a job cannot go on with: leave it out."
        raise UserError(msg)
    is_set = {key: OmegaConf.select(cfg, key) not in (None, "auto", "none") for key in _PLACES_HERE}
    return {key: text for key, text in _PLACES_HERE.items() if is_set[key]}
