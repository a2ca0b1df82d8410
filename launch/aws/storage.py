"""A bucket of S3 as `launch.protocols.ObjectStore` has it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError
from dogbreed.files import disk_errors, replacing
from launch.aws.errors import GoneError, translated
from launch.protocols import ObjectStore, StoredObject

if TYPE_CHECKING:
    from launch.aws.session import Aws

# Larger files travel in parts, several at a time, each tried again by itself.
PART_BYTES = 16 << 20
NUM_PARTS_AT_A_TIME = 8
# What a broken answer is worth; requests that fail are tried again by the client itself.
READ_ATTEMPTS = 5


class S3Store(ObjectStore):
    """One bucket.

    Args:
        aws: The account.
        bucket: Its name.
        kms_key: Encrypts what is written; None for the bucket's own rule.

    Every request says whose bucket it must be: one that has changed hands is refused.
    """

    def __init__(self, aws: Aws, bucket: str, kms_key: str | None = None) -> None:
        self.bucket = bucket
        self.endpoint_url = aws.endpoint_url
        self._client = aws.client("s3")
        self._owner = {"ExpectedBucketOwner": aws.account}
        self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}

    def exists(self, key: str) -> bool:
        """Say whether there is an object of this key."""
        try:
            with translated(f"looking for {self.address(key)}"):
                self._client.head_object(Bucket=self.bucket, Key=key, **self._owner)
        except GoneError:
            return False
        return True

    def put_file(self, path: Path, key: str) -> None:
        """Write a file, in parts where it is large; S3 checks what has arrived by its checksum."""
        with translated(f"uploading {path}"):
            try:
                if path.stat().st_size <= PART_BYTES:
                    with path.open("rb") as body:
                        self._client.put_object(
                            Bucket=self.bucket, Key=key, Body=body, **self._owner, **self._encryption
                        )
                    return
                extra = {**self._owner, **self._encryption}
                self._transfers.upload(str(path), self.bucket, key, extra_args=extra).result()
            except FileNotFoundError as error:
                msg = f"{path} vanished while it was uploaded: call again when nobody writes there any more."
                raise UserError(msg) from error

    def put_bytes(self, data: bytes, key: str) -> None:
        """Write a small object."""
        with translated(f"uploading to {self.address(key)}"):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=data, **self._owner, **self._encryption)

    def copy(self, source_key: str, key: str) -> None:
        """Copy within the bucket, without the bytes coming here.

        Raises:
            GoneError: the source is not there.
        """
        source = {"Bucket": self.bucket, "Key": source_key}
        owners = {**self._owner, "ExpectedSourceBucketOwner": self._owner["ExpectedBucketOwner"]}
        with translated(f"copying {self.address(source_key)}"):
            size = self._client.head_object(Bucket=self.bucket, Key=source_key, **self._owner)["ContentLength"]
            if size < 5 << 30:  # the most that one request copies
                self._client.copy_object(CopySource=source, Bucket=self.bucket, Key=key, **owners, **self._encryption)
            else:
                self._transfers.copy(source, self.bucket, key, extra_args={**owners, **self._encryption}).result()

    def get_bytes(self, key: str) -> bytes:
        """Read a small object."""
        with translated(f"reading {self.address(key)}"):
            return b"".join(self._read(key))

    def get_file(self, key: str, path: Path) -> None:
        """Read into a file: temporary name, then renamed."""
        with translated(f"downloading {self.address(key)}"), disk_errors(path, "another folder"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as unfinished, unfinished.open("wb") as file:
                for chunk in self._read(key):
                    file.write(chunk)

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is gone already."""
        with translated(f"removing {self.address(key)}"):
            self._client.delete_object(Bucket=self.bucket, Key=key, **self._owner)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List all objects below a prefix, a page at a time."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, **self._owner)
        pages = iter(pages)
        while True:
            with translated(f"listing {self.address(prefix)}"):
                page = next(pages, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                yield StoredObject(found["Key"], int(found["Size"]), found["LastModified"])

    def address(self, key: str) -> str:
        """Return a key's address, for sentences and requests."""
        return f"s3://{self.bucket}/{key}"

    def _read(self, key: str) -> Iterator[bytes]:
        """Read an object's bytes; where the connection breaks off, go on there, in the same version of it."""
        from botocore import exceptions as known
        from urllib3.exceptions import HTTPError

        done, tag, attempt = 0, None, 0
        while True:
            rest: dict[str, Any] = {"Range": f"bytes={done}-", "IfMatch": tag} if done else {}
            answer = self._client.get_object(Bucket=self.bucket, Key=key, **self._owner, **rest)
            tag = answer["ETag"]
            try:
                for chunk in answer["Body"].iter_chunks(1 << 20):
                    done += len(chunk)
                    attempt = 0
                    yield chunk
            except (known.HTTPClientError, known.IncompleteReadError, HTTPError, OSError):
                attempt += 1
                if attempt >= READ_ATTEMPTS:
                    raise
                time.sleep(min(2**attempt, 20) / 4)
            else:
                return

    @cached_property
    def _transfers(self) -> Any:
        from boto3.s3.transfer import TransferConfig, create_transfer_manager

        config = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=NUM_PARTS_AT_A_TIME
        )
        return create_transfer_manager(self._client, config)
