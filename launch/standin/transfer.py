"""What SageMaker moves between S3 and a machine: channels, checkpoints, model and output."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class NothingFoundError(Exception):
    """There is no object below an address."""


def split_address(address: str) -> tuple[str, str]:
    """Split ``s3://BUCKET/KEY``.

    Example:
        >>> split_address("s3://photos/dogs/train/")
        ('photos', 'dogs/train/')
    """
    parts = urlsplit(address)
    return parts.netloc, parts.path.lstrip("/")


def pull(s3: Any, address: str, folder: Path) -> int:
    """Copy everything below an address into a folder, as a File channel does; one object keeps its name.

    Returns:
        How many objects there were.
    """
    bucket, prefix = split_address(address)
    num_objects = 0
    for key in list_keys(s3, bucket, prefix):
        relative = key[len(prefix) :].lstrip("/") or key.rpartition("/")[2]
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(path))
        num_objects += 1
    return num_objects


def list_keys(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    """List the keys of a bucket that begin so.

    Raises:
        NothingFoundError: there is no such bucket.
    """
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from (item["Key"] for item in page.get("Contents", ()) if not item["Key"].endswith("/"))
    except s3.exceptions.NoSuchBucket as error:
        msg = f"the bucket {bucket} does not exist"
        raise NothingFoundError(msg) from error


def pull_channels(s3: Any, request: Mapping[str, Any], base: Path) -> None:
    """Fill ``input/data/NAME`` for each channel; FastFile, which would read on demand, is copied as well.

    Raises:
        NothingFoundError: a channel is empty.
    """
    for channel in request.get("InputDataConfig") or ():
        source = channel["DataSource"]["S3DataSource"]
        folder = base / "input" / "data" / channel["ChannelName"]
        folder.mkdir(parents=True, exist_ok=True)
        if not pull(s3, source["S3Uri"], folder):
            msg = f'No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source'
            raise NothingFoundError(msg)


class FolderSync:
    """Keeps an S3 address up to date with a folder while a job runs: new and changed files, no removals.

    Args:
        s3: A boto3 client.
        folder: On the machine.
        address: In S3.
    """

    def __init__(self, s3: Any, folder: Path, address: str) -> None:
        self._s3 = s3
        self.folder = folder
        self._bucket, prefix = split_address(address)
        self._prefix = prefix.rstrip("/")
        self._seen: dict[str, tuple[int, int]] = {}

    def restore(self) -> int:
        """Copy what is there into the folder; it counts as known."""
        self.folder.mkdir(parents=True, exist_ok=True)
        num_objects = pull(self._s3, f"s3://{self._bucket}/{self._prefix}/", self.folder)
        self._seen = dict(self._stamps())
        return num_objects

    def push(self) -> None:
        """Copy what is new or has changed since the last time."""
        for name, stamp in list(self._stamps()):
            if self._seen.get(name) == stamp:
                continue
            try:
                self._s3.upload_file(str(self.folder / name), self._bucket, f"{self._prefix}/{name}")
            except FileNotFoundError:  # a temporary name, which is another by now
                continue
            self._seen[name] = stamp

    def _stamps(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for path in sorted(self.folder.rglob("*")):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                yield path.relative_to(self.folder).as_posix(), (stat.st_mtime_ns, stat.st_size)


def push_artifacts(s3: Any, folders: list[Path], address: str, name: str, scratch: Path, *, compressed: bool) -> None:
    """Upload the content of the machines' folders as one ``NAME.tar.gz``, or as it is below ``NAME/``.

    Args:
        s3: A boto3 client.
        folders: One a machine; where two have a file of the same name, the first counts.
        address: ``S3OutputPath/JOB/output``.
        name: ``model`` or ``output``.
        scratch: Folder for the archive.
        compressed: As the request's ``CompressionType`` says.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                files.setdefault(path.relative_to(folder).as_posix(), path)
    bucket, prefix = split_address(address)
    if not compressed:
        for relative, path in files.items():
            s3.upload_file(str(path), bucket, f"{prefix}/{name}/{relative}")
        return
    archive = scratch / f"{name}.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for relative, path in files.items():
            tar.add(path, relative)
    s3.upload_file(str(archive), bucket, f"{prefix}/{name}.tar.gz")
    archive.unlink()
