"""Lists of peptides: one sequence per line."""

from __future__ import annotations

from pathlib import Path

from .sequences import parse_sequence


def read_sequences(path: Path | str) -> list[str]:
    """The sequences of a text file, in its order and in standard spelling.

    One sequence per line, as :func:`~timewarp.molecules.sequences.parse_sequence` reads it; blank lines and what
    follows a ``#`` are ignored.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line cannot be read, a sequence is there twice, or there is none; lines are named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file of sequences: {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file of sequences, one per line: {error}") from None
    lines: dict[str, int] = {}
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        if not (content := line.partition("#")[0].strip()):
            continue
        try:
            sequence = str(parse_sequence(content))
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
            continue
        if sequence in lines:
            wrong.append(f"line {number}: {sequence} is already on line {lines[sequence]}; remove one of them")
        lines.setdefault(sequence, number)
    if wrong:
        more = f" (and {len(wrong) - 1} more such lines)" if len(wrong) > 1 else ""
        raise ValueError(f"{path}, {wrong[0]}{more}")
    if not lines:
        raise ValueError(f"{path} has no sequences; write one per line, such as AG or Ace-A-Nme")
    return list(lines)
