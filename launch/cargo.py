"""What travels with a job: the code, and what a job without a network could not fetch; and its way to S3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launch.bundle import Bundle, build_bundle
from launch.channels import needs_hub_weights
from launch.facts import BundleFacts
from launch.plan import Plan
from launch.settings import LaunchSettings

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from launch.aws.storage import S3Store

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cargo:
    """What travels with a job, on this machine.

    Args:
        bundle: The code.
        pretrained: The hub's weights, for a job without a network.
        wheels: Libraries, likewise.
    """

    bundle: Bundle
    pretrained: Path | None = None
    wheels: Path | None = None

    @classmethod
    def pack(cls, cfg: DictConfig) -> Cargo:
        """Put it together; what is unchanged since last time is there already.

        Args:
            cfg: The composed configuration.

        Raises:
            UserError: code or libraries are missing, or the weights cannot be had.
        """
        settings = LaunchSettings.of(cfg)
        bundle = build_bundle(settings.code, settings.requirements)
        if not settings.network_isolation or settings.is_local:
            return cls(bundle)
        from launch.wheelhouse import build_wheelhouse, pretrained_folder

        pretrained = pretrained_folder(str(cfg.model.architecture)) if needs_hub_weights(cfg) else None
        return cls(bundle, pretrained, build_wheelhouse(settings.requirements))

    @property
    def facts(self) -> BundleFacts:
        """What a plan says of the code."""
        mark = "-dirty" if self.bundle.is_dirty else ""
        revision = f"{self.bundle.revision}{mark}" if self.bundle.revision else "unknown"
        return BundleFacts(self.bundle.sha256, self.bundle.num_bytes, self.bundle.files, revision)


def upload(store: S3Store, cargo: Cargo, plan: Plan, say: Say) -> dict[str, str]:
    """Upload code and channels, as far as they are not there yet.

    Args:
        store: The bucket.
        cargo: What travels.
        plan: Names the channels.
        say: Told what was sent.

    Returns:
        Channel to its address.

    Raises:
        UserError: as `launch.upload`.
    """
    from launch.upload import upload_file, upload_folder

    prefix = plan.settings.prefix
    code = upload_file(store, cargo.bundle.path, f"{prefix}/code", cargo.bundle.sha256)
    say(f"code: {code.num_bytes / 1000:.0f} kB {'sent' if code.was_sent else 'there already'}")
    addresses = {}
    for channel, _ in plan.uploads:
        source = Path(channel.source)
        if source.is_dir():
            folder = upload_folder(store, source, f"{prefix}/data")
            addresses[channel.name] = f"{store.address(folder.prefix)}/"
            sent = folder.num_sent + folder.num_copied
            what = f"{folder.num_files} files, {folder.num_bytes / 1e6:,.1f} MB, "
            what += f"{folder.num_sent} sent, {folder.num_copied} copied in S3" if sent else "there already"
        else:
            file = upload_file(store, source, f"{prefix}/data")
            addresses[channel.name] = store.address(file.key)
            what = f"{file.num_bytes / 1e6:,.1f} MB {'sent' if file.was_sent else 'there already'}"
        say(f"{channel.name}: {source}: {what}")
    return addresses
