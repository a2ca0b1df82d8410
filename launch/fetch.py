"""Bring a job's run folder home: run, model folder and checkpoints, as if it had run here."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from dogbreed.errors import UserError
from dogbreed.files import disk_errors, read_json, replacing_folder, write_json
from dogbreed.run_files import CHECKPOINTS, FINISHED, LAST, MODEL, RUN_LOCK
from launch.protocols import ObjectStore, StoredObject
from launch.record import FILE_NAME

# Beside what is fetched, until all of it is there.
SCRATCH = ".fetch"
DONE = "done.json"
# The run folder's name in a job, which a trial's checkpoints have a folder of, too.
RUN = "run"
PARTS = (RUN, "model", CHECKPOINTS)


@dataclass(frozen=True)
class Fetched:
    """What has come home.

    Args:
        num_files: Files written into the run folder by this call.
        num_bytes: Bytes that travelled for it.
        parts: ``run``, ``model`` and ``checkpoints``, those there are.
    """

    num_files: int
    num_bytes: int
    parts: tuple[str, ...]


def fetch(
    store: ObjectStore,
    description: Mapping[str, Any],
    run_dir: Path,
    say: Callable[[str], None] = lambda _: None,
    *,
    parts: Collection[str] = PARTS,
) -> Fetched:
    """Bring home what a job has written to S3; what a job that failed or runs has left so far as well.

    A call that was broken off goes on where it was; one more changes nothing. Every file is written under another name
    and renamed; archives are opened only when they are whole, and nothing of them can land outside the run folder.

    Args:
        store: The bucket of the job's output.
        description: DescribeTrainingJob's answer.
        run_dir: The run folder; made if it is not there.
        say: Told what is being done.
        parts: What of `PARTS` is wanted.

    Raises:
        UserError: S3 refuses, the disk is full, an archive is damaged or names a path outside its folder.
    """
    with disk_errors(run_dir, "--into DIR"):
        scratch = run_dir / SCRATCH
        scratch.mkdir(parents=True, exist_ok=True)
        visit = _Visit(store, description, run_dir, scratch, say)
        ways = {
            RUN: lambda: visit.artifacts("output", visit.place_output),
            "model": lambda: visit.artifacts("model", visit.place_model),
            CHECKPOINTS: visit.checkpoints,
        }
        found = tuple(name for name, bring in ways.items() if name in parts and bring())
        shutil.rmtree(scratch)
    return Fetched(visit.num_files, visit.num_bytes, found)


def bucket_of(description: Mapping[str, Any]) -> str:
    """Return the bucket that a job writes to."""
    return urlsplit(output_of(description)).netloc


def output_of(description: Mapping[str, Any]) -> str:
    """Return where a job, or those of a tuning job, write to."""
    if "TransformOutput" in description:
        return str(description["TransformOutput"]["S3OutputPath"])
    return str((description.get("TrainingJobDefinition") or description)["OutputDataConfig"]["S3OutputPath"])


class _Visit:
    """One call of `fetch`."""

    def __init__(
        self,
        store: ObjectStore,
        description: Mapping[str, Any],
        run_dir: Path,
        scratch: Path,
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._description = description
        self._run_dir = run_dir
        self._scratch = scratch
        self._say = say
        self.num_files = self.num_bytes = 0

    def artifacts(self, name: str, place: Callable[[Path], None]) -> bool:
        """Fetch ``NAME.tar.gz`` and put its content where it belongs; False if the job has written none."""
        key = f"{self._output()}/{name}.tar.gz"
        found = next((item for item in self._store.list(key) if item.key == key), None)
        if found is None:
            return False
        archive = self._scratch / f"{name}.tar.gz"
        self._get(found, archive)
        content = self._scratch / name
        shutil.rmtree(content, ignore_errors=True)
        try:
            extract(archive, content)
        except UserError:
            archive.unlink()  # so that the next call fetches it anew
            raise
        place(content)
        return True

    def place_output(self, content: Path) -> None:
        """Put the job's run folder into ours, file by file; what else it has written goes below ``output/``."""
        # What the launch has written here stays: the job's own notes of these are another machine's.
        kept = {SCRATCH, FILE_NAME, RUN_LOCK}
        if (self._run_dir / ".hydra").is_dir():
            kept.add(".hydra")
        for path in _files(content):
            relative = path.relative_to(content)
            inner = relative.relative_to(RUN) if relative.parts[0] == RUN else Path("output", relative)
            if inner.parts[0] in kept:
                continue
            target = self._run_dir / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            self.num_files += 1

    def place_model(self, content: Path) -> None:
        """Put the model folder into its place, whole or not at all."""
        self.num_files += sum(1 for _ in _files(content))
        with replacing_folder(self._run_dir / MODEL) as unfinished:
            unfinished.rmdir()
            content.replace(unfinished)

    def checkpoints(self) -> bool:
        """Fetch the checkpoints; of a job that is over, those that an earlier call has fetched are not asked for."""
        config = self._description.get("CheckpointConfig")
        if not config:
            return False
        is_over = self._description["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")
        prefix = self._key(config["S3Uri"]) + "/"
        if self._description.get("TuningJobArn"):  # the jobs of a tuning job share one place (launch.container.job)
            prefix += f"{self._description['TrainingJobName']}/{RUN}/"
        done = read_json(self._scratch / DONE) if is_over else {}
        found = False
        items = {item.key[len(prefix) :]: item for item in self._store.list(prefix)}
        # A run that is finished has retired its last checkpoint; the sync to S3 leaves what it was called before.
        if FINISHED in items:
            items[LAST] = items.pop(FINISHED)
        for name, item in items.items():
            relative = _inside(name)
            if relative is None or relative.name.startswith("."):  # half-written when its machine was taken away
                continue
            found = True
            target = self._run_dir / CHECKPOINTS / relative
            if done.get(item.key) == item.num_bytes and target.is_file() and target.stat().st_size == item.num_bytes:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            self._download(item, target)
            self.num_files += 1
            if is_over:  # before that, a file of the same size may be another one tomorrow
                done[item.key] = item.num_bytes
                write_json(self._scratch / DONE, done)
        return found

    def _get(self, item: StoredObject, path: Path) -> None:
        if not (path.is_file() and path.stat().st_size == item.num_bytes):
            self._download(item, path)

    def _download(self, item: StoredObject, path: Path) -> None:
        self._say(f"fetching {PurePosixPath(item.key).name} ({item.num_bytes / 1e6:,.1f} MB)")
        self._store.get_file(item.key, path)
        num_bytes = path.stat().st_size
        # A checkpoint of a job that runs may have been written anew in the meantime; an archive never is.
        if num_bytes != item.num_bytes and self._description["TrainingJobStatus"] != "InProgress":
            path.unlink()
            msg = f"s3://{self._store.bucket}/{item.key} came with {num_bytes} of {item.num_bytes} bytes: call again."
            raise UserError(msg)
        self.num_bytes += num_bytes

    def _output(self) -> str:
        """Where the archives lie: AWS says it of the model; the output is beside it."""
        told = (self._description.get("ModelArtifacts") or {}).get("S3ModelArtifacts")
        if told:
            return self._key(str(told)).rpartition("/")[0]
        job, root = self._description["TrainingJobName"], self._description["OutputDataConfig"]["S3OutputPath"]
        return f"{self._key(root)}/{job}/output"

    def _key(self, address: str) -> str:
        parts = urlsplit(address)
        if parts.netloc != self._store.bucket:
            msg = f"The job writes to {address}, which is not in the bucket {self._store.bucket}."
            raise UserError(msg)
        return parts.path.strip("/")


def extract(archive: Path, folder: Path) -> None:
    """Unpack a tar.gz of plain files.

    Args:
        archive: The file.
        folder: Made for it.

    Raises:
        UserError: it is damaged, or holds a link, a device or a path that leaves the folder.
    """
    folder.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                relative = _inside(member.name)
                if member.isdir():
                    continue
                stream = tar.extractfile(member) if member.isreg() else None
                if relative is None or stream is None:
                    msg = (
                        f"{archive.name} holds {member.name}, which is no plain file inside it: nothing of it was used."
                    )
                    raise UserError(msg)
                _write(stream, folder / relative)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not gzip's
            raise
        msg = f"{archive.name} is damaged ({error}): call again."
        raise UserError(msg) from error


def _write(stream: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)


def _inside(name: str) -> Path | None:
    """Return a relative path that stays where it is put; None for any other."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name or (os.sep != "/" and os.sep in name):
        return None
    return Path(*path.parts)


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())
