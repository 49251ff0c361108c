"""Whether a DCD file is what its records say: the reader of such files trusts them, and crashes on damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

HEADER, TITLE_LINE, CELL = 84, 80, 48
MOST_TITLES = 1000


def check_dcd(path: Path) -> None:
    """Walk the records of a DCD file; a last frame that is cut short is left to the reader.

    A record is its length, its content and its length again (Fortran's unformatted files), in either byte order.

    Raises:
        ValueError: a record has other lengths before and behind, or another one than the number of atoms asks for.
    """
    with open(path, "rb") as handle:
        start = handle.read(8)
        order = next((o for o in "<>" if start[:4] == struct.pack(f"{o}i", HEADER)), None)
        if order is None or start[4:] != b"CORD":
            raise ValueError(f"{path} is not a DCD file: it does not begin with a header of {HEADER} bytes")
        handle.seek(0)
        header = _record(handle, order, path, (HEADER,))
        flags = struct.unpack(f"{order}20i", header[4:])
        frames, fixed, has_cell, is_charmm = flags[0], flags[8], flags[10], flags[19] != 0
        if frames < 0 or fixed != 0 or (is_charmm and (has_cell not in (0, 1) or flags[11] != 0)):
            raise ValueError(
                f"{path} cannot be read: its header asks for fixed atoms or a fourth dimension, or is damaged; write "
                "it anew with MDTraj, VMD or CPPTRAJ"
            )
        titles = _record(handle, order, path, None)
        lines = struct.unpack(f"{order}i", titles[:4])[0] if len(titles) >= 4 else -1
        if not 0 <= lines <= MOST_TITLES or len(titles) != 4 + TITLE_LINE * lines:
            raise ValueError(f"{path} is damaged: its title says {lines} lines in {len(titles)} bytes")
        (n_atoms,) = struct.unpack(f"{order}i", _record(handle, order, path, (4,)))
        if not 1 <= n_atoms <= 10**8:
            raise ValueError(f"{path} is damaged: it says that it has {n_atoms} atoms")
        cell = [CELL] if is_charmm and has_cell else []
        size, place = path.stat().st_size, handle.tell()
        frame = [*cell, *([4 * n_atoms] * 3)]
        whole = (size - place) // sum(length + 8 for length in frame)
        for _ in range(whole):
            for length in frame:
                handle.seek(place)
                before = handle.read(4)
                handle.seek(place + 4 + length)
                place += length + 8
                if before != struct.pack(f"{order}i", length) or handle.read(4) != before:
                    raise ValueError(f"{path} is damaged in the record of {length} bytes before byte {place}")


def _record(handle: BinaryIO, order: str, path: Path, lengths: tuple[int, ...] | None) -> bytes:
    before = handle.read(4)
    length = struct.unpack(f"{order}i", before)[0] if len(before) == 4 else -1
    if not 0 <= length <= 4 + TITLE_LINE * MOST_TITLES or (lengths and length not in lengths):
        raise ValueError(f"{path} is damaged: a record of its header says that it has {length} bytes")
    content = handle.read(length)
    if len(content) != length or handle.read(4) != before:
        raise ValueError(f"{path} is damaged, or was cut short within its header")
    return content
