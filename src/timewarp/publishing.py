"""Results that are written beside files of others: whole or not at all, and never over what this program did not make.

A folder of results holds a list of the files that were made in it, with their checksums and with what they are of. A
file that is not on the list, or was changed since, or is of something else, is not replaced unless one is told to.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import (
    DISK_ERRORS,
    exclusive,
    is_temporary,
    make_folder,
    not_written,
    read_json,
    sha256,
    sync_folder,
    write_atomically,
    write_json,
)

LIST_FILE = ".timewarp-files.json"
PUBLISH_LOCK = ".timewarp.lock"
_WORK = re.compile(r"\.timewarp-\d+-work")
ADVICE = "choose another --out, or overwrite it with `force`"

Record = dict[str, Any]


@dataclass
class Outputs:
    """A folder that is being written to; made by :func:`publishing`.

    Attributes:
        folder: where the files go in the end.
        work: a temporary folder in it; files left there are moved to ``folder`` when all went well.
        of: what the files are of, such as ``report of 0123456789abcdef``.
        force: replace files of others, too.
    """

    folder: Path
    work: Path
    of: str
    force: bool
    known: dict[str, Record] = field(default_factory=dict)

    def check(self, names: Sequence[str]) -> None:
        """Refuse to replace what is not of this program and of the same thing.

        Raises:
            FileExistsError: a file is another's, was changed, or is of something else.
        """
        for name in names:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"{name!r} is not a file in {self.folder}")
            path = self.folder / name
            if path.is_dir() and not path.is_symlink():
                raise FileExistsError(f"{path} is a folder, and a file of that name is to be written; move it away")
            if self.force or not (path.exists() or path.is_symlink()):
                continue
            record = self.known.get(name)
            if record is None:
                raise FileExistsError(f"{path} exists, and this program has no record of writing it; {ADVICE}")
            if record["of"] != self.of:
                raise FileExistsError(f"{path} is of something else ({record['of']}, not {self.of}); {ADVICE}")
            if sha256(path) not in record["sha256"]:
                raise FileExistsError(f"{path} was changed after this program wrote it; {ADVICE}")

    def put(self, name: str, data: bytes | str) -> None:
        """Write one file at once."""
        staged = self.work / name
        make_folder(staged.parent)
        write_atomically(staged, data)
        self.publish([name])

    def is_own(self, name: str) -> bool:
        """Whether a file is there that this program wrote, for the same thing, and nobody changed."""
        path, record = self.folder / name, self.known.get(name)
        known = record is not None and record["of"] == self.of and path.is_file()
        return known and sha256(path) in self.known[name]["sha256"]

    def publish(self, names: Sequence[str] | None = None) -> list[Path]:
        """Move files of the temporary folder to where they belong; all of them, if no names are given."""
        if names is None:
            names = sorted(str(p.relative_to(self.work)) for p in self.work.rglob("*") if p.is_file())
        if not names:
            return []
        self.check(names)
        fresh = {name: sha256(self.work / name) for name in names}
        # A process that is killed between here and the end leaves files of both lists: each is on this one.
        for name, checksum in fresh.items():
            before = self.known.get(name, {}).get("sha256", []) if self.known.get(name, {}).get("of") == self.of else []
            self.known[name] = {"of": self.of, "sha256": [checksum, *(c for c in before[:1] if c != checksum)]}
        self._save()
        for name in names:
            target = self.folder / name
            make_folder(target.parent)
            try:
                os.replace(self.work / name, target)
            except OSError as error:
                raise not_written(target, error) from None
        sync_folder(self.folder)
        for name, checksum in fresh.items():
            self.known[name] = {"of": self.of, "sha256": [checksum]}
        self._save()
        return [self.folder / name for name in names]

    def _save(self) -> None:
        write_json(self.folder / LIST_FILE, {"schema": 1, "files": self.known})


@contextlib.contextmanager
def publishing(
    folder: Path,
    of: str,
    *,
    names: Sequence[str] = (),
    force: bool = False,
    beside: bool = False,
) -> Iterator[Outputs]:
    """Write results into a folder, all at once when they are whole.

    Args:
        folder: made if need be.
        of: what the results are of: a file of another ``of`` is not replaced.
        names: files that will be written, as far as they are known: refused before any work.
        force: replace files of others.
        beside: whether the folder may hold other files than results of this program.

    Raises:
        NotADirectoryError: the folder is a file or a link to nowhere.
        FileExistsError: a file is another's; or another process is writing to the folder. Nothing was changed.
        NotWritten: the disk is full or read-only.
    """
    if folder.is_dir():
        _check_strangers(folder, force or beside)
        Outputs(folder, folder, of, force, read_list(folder)).check(names)
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    make_folder(folder)
    try:
        with exclusive(folder, PUBLISH_LOCK, remove=True):
            remove_unfinished(folder)
            work = folder / f".timewarp-{os.getpid()}-work"
            try:
                work.mkdir()
            except OSError as error:
                raise not_written(work, error) from None
            try:
                outputs = Outputs(folder, work, of, force, read_list(folder))
                outputs.check(names)
                yield outputs
                outputs.publish()
            except OSError as error:
                if error.errno in DISK_ERRORS:  # of a library that draws or writes: in which file does not matter
                    raise not_written(folder, error) from None
                raise
            finally:
                shutil.rmtree(work, ignore_errors=True)
    finally:
        for made in missing:  # what failed leaves no empty folders behind
            with contextlib.suppress(OSError):
                made.rmdir()


def write_owned(path: Path, data: str | bytes, is_ours: Callable[[Path], bool], what: str, force: bool) -> None:
    """Write a single file that says itself what it is.

    Raises:
        FileExistsError: there is a file that is not.
    """
    check_owned(path, is_ours, what, force)
    make_folder(path.parent)
    with exclusive(path.parent, f".{path.name}.lock", remove=True):
        check_owned(path, is_ours, what, force)
        write_atomically(path, data)


def check_owned(path: Path, is_ours: Callable[[Path], bool], what: str, force: bool) -> None:
    """Refuse to replace a single file that is not what the program would write there.

    Raises:
        FileExistsError: there is one.
        NotADirectoryError: the path, or one above it, is a link to nowhere.
    """
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder; give the name of a file")
    if path.is_symlink() and not path.exists():
        raise NotADirectoryError(f"{path} is a link to nowhere; remove it, or choose another --out")
    if path.exists() and not force and not is_ours(path):
        raise FileExistsError(f"{path} exists and is not {what}; {ADVICE}")


def read_list(folder: Path) -> dict[str, Record]:
    """The files that were made in a folder; a list that cannot be read counts as none."""
    try:
        found = read_json(folder / LIST_FILE).get("files")
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: {"of": row["of"], "sha256": row["sha256"]}
        for name, row in found.items()
        if isinstance(row, dict)
        and isinstance(row.get("of"), str)
        and isinstance(row.get("sha256"), list)
        and all(isinstance(c, str) for c in row["sha256"])
    }


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary folders that writers that were killed have left; call it with the folder held."""
    for path in folder.iterdir():
        if _WORK.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(LIST_FILE) and is_temporary(path):
            path.unlink(missing_ok=True)


def _check_strangers(folder: Path, allowed: bool) -> None:
    if allowed or (folder / LIST_FILE).is_file():
        return
    strangers = sorted(p.name for p in folder.iterdir() if not _is_unfinished(p))
    if strangers:
        raise FileExistsError(
            f"{folder} is not empty, and this program has no record of writing to it (it holds {strangers[0]}); choose "
            "another --out, or write there all the same with `force`"
        )


def _is_unfinished(path: Path) -> bool:
    """Whether a file or folder is there because a writer was killed."""
    own_list = path.name.startswith(LIST_FILE) and is_temporary(path)
    return path.name == PUBLISH_LOCK or bool(_WORK.fullmatch(path.name)) or own_list
