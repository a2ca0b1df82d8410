"""Data sets that have to be fetched before they can be scanned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from dogbreed.data.candidates import walk_tree
from dogbreed.download import download, extract_zip
from dogbreed.errors import UserError
from dogbreed.files import make_folder_once, user_cache_dir


class Source(Protocol):
    """Anything that can put a data set on disk."""

    def prepare(self) -> Path:
        """Make sure that the data set is there, whole, and return its root folder."""


class ArchiveSource:
    """A data set in a zip archive on the web.

    Args:
        url: Address of the archive.
        name: Folder name under the user's cache folder.
        subfolder: Folder inside the archive that holds the splits.
        expected_counts: Pictures per split, verified after unpacking.
        max_bytes: Most bytes that the unpacked archive may take.
        max_files: Most files that it may hold.
        folder: Another place than the user's cache folder.
    """

    def __init__(
        self,
        url: str,
        name: str,
        subfolder: str = "",
        expected_counts: Mapping[str, int] | None = None,
        max_bytes: int = 10_000_000_000,
        max_files: int = 200_000,
        folder: str | None = None,
    ) -> None:
        self.url = url
        self.target = Path(folder).expanduser() if folder else user_cache_dir() / "data" / name
        self.subfolder = subfolder
        self.expected_counts = dict(expected_counts or {})
        self.max_bytes = max_bytes
        self.max_files = max_files

    def prepare(self) -> Path:
        """Download, unpack and verify the data set, once.

        Returns:
            Folder that holds the splits.

        Raises:
            UserError: download or archive failed, or pictures are missing in it.
        """
        make_folder_once(
            self.target, self._fill, on_wait=lambda: tqdm.write(f"waiting for another download of {self.url}")
        )
        root = self.target / self.subfolder
        if not root.is_dir():
            msg = (
                f"data.source.folder={self.target} holds something else (no {self.subfolder} in it): "
                "choose an empty folder."
            )
            raise UserError(msg)
        return root

    def _fill(self, folder: Path) -> None:
        archive = self.target.parent / f"{self.target.name}.zip"
        with _Bar(f"download {self.target.name}") as bar:
            download(self.url, archive, bar.update)
        try:
            with _Bar(f"unpack {self.target.name}") as bar:
                extract_zip(archive, folder, self.max_bytes, self.max_files, bar.update)
            self._verify(folder / self.subfolder)
        except UserError:
            # What cannot be used would only be found again by the next call.
            archive.unlink(missing_ok=True)
            raise
        archive.unlink()

    def _verify(self, root: Path) -> None:
        if not root.is_dir():
            msg = f"{self.url} holds no folder {self.subfolder}: another archive was expected."
            raise UserError(msg)
        counts = dict.fromkeys(self.expected_counts, 0)
        for candidate in walk_tree(root):
            if candidate.split in counts:
                counts[candidate.split] += 1
        if counts != self.expected_counts:
            msg = f"{self.url} holds {counts} pictures, not {self.expected_counts}: another archive was expected."
            raise UserError(msg)


class _Bar:
    """A byte counter on terminals, fed with totals."""

    def __init__(self, label: str) -> None:
        self._bar = tqdm(desc=label, unit="B", unit_scale=True, disable=None)

    def update(self, done_bytes: int, total_bytes: int | None) -> None:
        self._bar.total = total_bytes
        self._bar.update(done_bytes - self._bar.n)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
