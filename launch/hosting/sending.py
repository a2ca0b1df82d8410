"""Bring a model's archive to S3, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from launch.hosting.archive import Archive
from launch.hosting.names import models_prefix
from launch.preview import size_text
from launch.upload import upload_file

if TYPE_CHECKING:
    from launch.aws.session import Aws
    from launch.settings import LaunchSettings


def send_archive(aws: Aws, bucket: str, launch: LaunchSettings, archive: Archive, say: Callable[[str], None]) -> str:
    """Upload an archive under the hash of its content, unless it is there already.

    Args:
        aws: The account.
        bucket: Where to.
        launch: ``launch.prefix``, ``launch.kms_key``.
        archive: What.
        say: Told what was sent.

    Returns:
        Its address.

    Raises:
        UserError: S3 refuses.
    """
    from launch.aws.storage import S3Store

    store = S3Store(aws, bucket, launch.kms_key)
    sent = upload_file(store, archive.path, models_prefix(launch.prefix), archive.sha256)
    say(f"model.tar.gz: {size_text(sent.num_bytes)} {'sent' if sent.was_sent else 'there already'}")
    return store.address(sent.key)
