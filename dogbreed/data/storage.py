"""Where packed data sets lie: a folder, or a bucket of S3 or of anything that speaks like it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from dogbreed.errors import UserError
from dogbreed.files import disk_errors, replacing

# In a packed data set's folder or prefix; written last.
PACK_JSON = "pack.json"

_FORBIDDEN = ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")


class Storage(Protocol):
    """A flat folder of files somewhere.

    Everything raises `UserError` where a file is missing or the place cannot be reached.
    """

    where: str
    """The place, as people write it."""

    def exists(self, name: str) -> bool:
        """Say whether there is such a file."""

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a file's bytes, or some of them."""

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to ``target``, whole or not at all."""

    def put(self, file: Path, name: str) -> None:
        """Copy a file into the place, whole or not at all."""


def is_url(root: object) -> bool:
    """Say whether a data set's root is an address, not a folder."""
    return "://" in str(root)


def is_packed(root: object) -> bool:
    """Say whether a root holds a packed data set; an address does, or nothing that we can read."""
    return is_url(root) or (root is not None and (Path(str(root)).expanduser() / PACK_JSON).is_file())


def storage_of(root: str | Path) -> Storage:
    """Return the storage that a folder or an address means.

    Raises:
        UserError: it is an address that we do not speak, or what it takes is not installed.
    """
    if not is_url(root):
        return FolderStorage(Path(root).expanduser())
    scheme, _, rest = str(root).partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        msg = f"{root} is no place that we can read: give a folder, or s3://BUCKET/PREFIX."
        raise UserError(msg)
    return S3Storage(bucket, prefix)


class FolderStorage:
    """A folder of this machine.

    Args:
        folder: It need not be there before something is put into it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = str(folder.resolve())

    def exists(self, name: str) -> bool:
        """Say whether there is such a file."""
        return (self.folder / name).is_file()

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a file's bytes, or some of them."""
        with self._readable(name), (self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read(-1 if size is None else size)

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to ``target``."""
        with self._readable(name), replacing(target) as unfinished:
            shutil.copyfile(self.folder / name, unfinished)

    def put(self, file: Path, name: str) -> None:
        """Copy a file into the folder."""
        with disk_errors(self.folder / name, "another folder to pack into"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.folder / name) as unfinished:
                shutil.copyfile(file, unfinished)

    @contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.filename != str(self.folder / name):
                raise
            reason = os.strerror(error.errno or 0)
            msg = f"{self.folder / name} cannot be read ({reason}): pack the data set anew, or name another data.root."
            raise UserError(msg) from error


class S3Storage:
    """A prefix in a bucket, by boto3: credentials, region and endpoint are what its environment says.

    Args:
        bucket: Its name.
        prefix: Of all names; with or without a slash at its end.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self.where = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self._made: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}  # connections are each process's own

    def exists(self, name: str) -> bool:
        """Say whether there is such an object."""
        with self._explained(name):
            return bool(self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._key(name), MaxKeys=1)["KeyCount"])

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return an object's bytes, or some of them."""
        part = {} if size is None else {"Range": f"bytes={start}-{start + size - 1}"}
        with self._explained(name):
            answer = self._client.get_object(Bucket=self.bucket, Key=self._key(name), **part)
            content: bytes = answer["Body"].read()
            return content if part else content[start:]

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object to ``target``, several parts at a time."""
        with self._explained(name), replacing(target) as unfinished:
            self._client.download_file(self.bucket, self._key(name), str(unfinished))

    def put(self, file: Path, name: str) -> None:
        """Copy a file into the bucket, several parts at a time."""
        with self._explained(name):
            self._client.upload_file(str(file), self.bucket, self._key(name))

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    @property
    def _client(self) -> Any:
        """The client of this process: one that was forked with its connections would mix up answers."""
        if self._made is None or self._made[0] != os.getpid():
            try:
                import boto3
                from botocore.config import Config
            except ImportError as error:
                msg = f"{self.where} takes boto3: pip install 'dogbreed[sagemaker]'."
                raise UserError(msg) from error
            config = Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=32)
            with self._explained(PACK_JSON):
                self._made = os.getpid(), boto3.session.Session().client("s3", config=config)
        return self._made[1]

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            from boto3.exceptions import S3UploadFailedError
            from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
        except ImportError:
            yield  # the client says so
            return
        try:
            yield
        except (BotoCoreError, ClientError, S3UploadFailedError) as error:
            code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
            if isinstance(error, (NoCredentialsError, NoRegionError)):
                remedy = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION"
            elif code in ("NoSuchKey", "NoSuchBucket", "404"):
                remedy = "check bucket and prefix; python -m dogbreed.pack writes a packed data set"
            elif code in _FORBIDDEN:
                remedy = "check that your credentials may read and list the bucket"
            else:
                remedy = "check network and region, and try again"
            msg = f"{self.where}/{name} cannot be reached ({error}): {remedy}."
            raise UserError(msg) from error
