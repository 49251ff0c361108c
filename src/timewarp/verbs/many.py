"""One verb for each peptide of a list: a run folder each, any number of workers, resumable per peptide."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..executors import Executor, Outcome, Task
from ..files import check_folder, read_json, write_json
from ..molecules import folder_name
from ..progress import Progress
from ..trajectories import open_campaign, run_in_campaign

SUMMARY_FILE = "summary.json"
SUMMARY_INTERVAL_S = 30.0
DONE, WAITING, FAILED = "done", "waiting", "failed"


def peptide_seed(seed: int, sequence: str) -> int:
    """The seed of one peptide's run, from the list's seed and the sequence alone, whatever its place in the list.

    It fits ``--seed``, so that ``timewarp simulate SEQUENCE`` and ``timewarp sample SEQUENCE`` can repeat the run.

    >>> peptide_seed(0, "AG")
    769748423
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{sequence}".encode()).digest()[:4], "big")


def run_list(
    sequences: Sequence[str],
    out: Path | str,
    *,
    work: Callable[..., None],
    settings: Callable[[str], Any],
    row: Callable[[str, Path], Mapping[str, Any]],
    shared: Mapping[str, Any],
    may_grow: str,
    executor: Executor,
    expected: tuple[type[Exception], ...] = (ValueError, OSError),
    amount: Callable[[str, Path], float] | None = None,
    each: float = 1.0,
    unit: str = "peptides",
    totals: Callable[[list[dict[str, Any]], float], Mapping[str, Any]] = lambda rows, wall_s: {},
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Do the same with every peptide of a list, in a run folder of its own under ``out``, named by its sequence
    (:func:`timewarp.molecules.folder_name`).

    Finished peptides are skipped, unfinished ones go on from what they have stored, failed ones are tried again at the
    next call; a peptide that fails does not stop the others, and one whose worker was killed is begun again.

    Args:
        sequences: in standard spelling, each once (see :func:`timewarp.molecules.read_sequences`).
        out: a new folder, or that of the list to go on with.
        work: a module-level function (or a partial of one), called in a worker as
            ``work(sequence, folder, settings(sequence), heartbeat=heartbeat)``; it goes on from what it finds.
        settings: of one peptide; can be pickled.
        row: columns of one peptide in the summary's table, from its sequence and its folder, which may not be there
            yet. Its ``"state"`` is ``"done"`` where the run is finished, as these settings would make it.
        shared: what all runs share, kept in ``campaign.toml``; a list with other entries is another list.
        may_grow: the entry of ``shared`` that says how long the runs are.
        executor: where to work.
        expected: errors of ``work`` whose message speaks for itself.
        amount: how much of one peptide's work is stored, for the progress; by default 1 for a finished one.
        each: the amount of a finished peptide.
        unit: of the amount.
        totals: further entries of the summary, from the table and the seconds spent on the list so far.
        progress: show a line with the rate and the time left.
        say: called with a line for each peptide that fails.

    Returns:
        The summary, as in ``out/summary.json``: how many peptides there are, are ``done`` and have ``failed``, and a
        ``table`` with a row for each.

    Raises:
        ValueError: there is no sequence, or one is there twice.
        FileExistsError: the folder holds something else or another list, or another process is writing to it.
        ConnectionError: a cluster cannot be reached, or was lost.
    """
    if not sequences or len(set(sequences)) != len(sequences):
        raise ValueError(f"sequences must be one or more, each once; got {len(sequences)}")
    check_folder(Path(out))
    out = Path(out).resolve()  # workers have other working directories
    with open_campaign(out, dict(shared), may_grow=may_grow):
        table = _Table(out, sequences, row, amount, each)
        tasks = [
            Task(
                sequence,
                run_in_campaign,
                (work, sequence, out / folder_name(sequence, in_list=True), settings(sequence)),
                expected,
            )
            for sequence in sequences
            if not table.is_done(sequence)
        ]
        before_s, began, total = _wall_s(out), time.monotonic(), each * len(sequences)
        bar = Progress(f"{len(sequences)} peptides", total, done=table.amount(), unit=unit, quiet=not progress)
        looked = took = 0.0
        saved = began

        def summary() -> dict[str, Any]:
            wall_s = before_s + time.monotonic() - began
            rows = table.rows()
            return {
                "schema": 1,
                **{name: value for name, value in shared.items() if name != "campaign"},
                "complete": table.count(DONE) == len(rows),
                "peptides": len(rows),
                "done": table.count(DONE),
                "failed": table.count(FAILED),
                "wall_s": wall_s,
                **totals(rows, wall_s),
                "executor": executor.description,
                "table": rows,
            }

        def on_poll(force: bool = False) -> None:
            nonlocal looked, took, saved
            now = time.monotonic()
            if not force and now - looked < 20 * took:  # on a slow file system, look less often
                return
            stored = table.amount()
            failed = f", {table.count(FAILED)} failed" if table.count(FAILED) else ""
            bar.advance(stored - bar.done, f"{table.count(DONE)} done{failed}; {stored:,.4g} of {total:,.4g} {unit}")
            looked = time.monotonic()
            took = looked - now
            if looked - saved > SUMMARY_INTERVAL_S:
                saved = looked
                write_json(out / SUMMARY_FILE, summary())

        def on_outcome(outcome: Outcome) -> None:
            table.note(outcome)
            if outcome.error is not None:
                say(f"{outcome.name} failed: {outcome.error}")
            on_poll(force=True)

        try:
            if tasks:
                with bar:
                    executor.run(tasks, on_outcome, on_poll)
        finally:
            result = summary()
            write_json(out / SUMMARY_FILE, result)
        return result


class _Table:
    """What is known of each peptide of a list."""

    def __init__(
        self,
        out: Path,
        sequences: Sequence[str],
        row: Callable[[str, Path], Mapping[str, Any]],
        amount: Callable[[str, Path], float] | None,
        each: float,
    ) -> None:
        self.out, self.row, self.stored, self.each = out, row, amount, each
        self.errors: dict[str, str | None] = dict.fromkeys(sequences)
        self._rows = {sequence: self._look(sequence) for sequence in sequences}

    def _look(self, sequence: str) -> dict[str, Any]:
        found = dict(self.row(sequence, self.out / folder_name(sequence, in_list=True)))
        state, error = found.pop("state"), self.errors[sequence]
        state = FAILED if state != DONE and error is not None else state
        return {"sequence": sequence, "folder": sequence, "state": state, "message": error, **found}

    def rows(self) -> list[dict[str, Any]]:
        """All rows, those of unfinished peptides as they are now."""
        for sequence in self._rows:
            if not self.is_done(sequence):
                self._rows[sequence] = self._look(sequence)
        return list(self._rows.values())

    def note(self, outcome: Outcome) -> None:
        """Keep how a peptide's task has ended."""
        self.errors[outcome.name] = outcome.error
        self._rows[outcome.name] = self._look(outcome.name)

    def is_done(self, sequence: str) -> bool:
        """Whether a peptide was finished when its row was made."""
        return self._rows[sequence]["state"] == DONE

    def count(self, state: str) -> int:
        """Peptides in a state."""
        return sum(row["state"] == state for row in self._rows.values())

    def amount(self) -> float:
        """What is stored of all peptides; a length that was rounded up counts as what was asked for."""
        total = 0.0
        for sequence in self._rows:
            if self.is_done(sequence):
                total += self.each
            elif self.stored is not None:
                total += min(self.stored(sequence, self.out / folder_name(sequence, in_list=True)), self.each)
        return total


def _wall_s(out: Path) -> float:
    """Seconds that earlier calls have spent on the list."""
    with contextlib.suppress(OSError, ValueError):
        return float(read_json(out / SUMMARY_FILE).get("wall_s") or 0.0)
    return 0.0
