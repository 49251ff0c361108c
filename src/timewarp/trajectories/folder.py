"""The run folder: the one store of MD and of sampled chains. A process killed at any moment loses its open segment."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import (
    exclusive,
    make_folder,
    read_json,
    remove_temporaries,
    to_json,
    to_toml,
    write_atomically,
    write_json,
    write_toml,
)
from ..state import Atoms
from . import segments
from .claiming import check_config, check_summary, strangers
from .description import KINDS, SCHEMA, Description, read_config
from .identity import differing, stereochemistry
from .segments import SegmentHeader, read_header, segment_name, write_segment
from .superchains import superchains_of_run
from .trajectory import Trajectory


class RunFolder(Description):
    """A folder of closed trajectory segments with the molecule and the resolved configuration beside them.

    Make one with :meth:`create` (new, or resumed) or :meth:`open` (existing). Files: ``topology.pdb``, ``atoms.json``,
    ``config.toml``, ``segments/s000-000000.safetensors`` (stream, index), and, once written, ``summary.json``.

    A *stream* is what one process writes: one or more chains side by side. The state needed to go on is stored
    inside each segment, so that data and checkpoint cannot disagree.

    Attributes:
        path: the folder.
        kind: ``"md"``, ``"chain"``, ``"exploration"``, whose frames are biased, or ``"frames"`` of another program.
        name: of the molecule, as the user gave it.
        atoms: the molecule.
        config: the resolved configuration, without the ``[run]`` table.
    """

    def __init__(self, path: Path, kind: str, name: str, atoms: Atoms, config: dict[str, Any]) -> None:
        self.path, self.kind, self.name, self.atoms, self.config = path, kind, name, atoms, config
        self._stored = config  # what config.toml holds
        self._held = False
        self._segments: dict[int, list[SegmentHeader]] = self._scan()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r}, {self.name}, {self.kind}, streams {self.streams})"

    # --- making and opening -------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        kind: str,
        name: str,
        atoms: Atoms,
        topology_pdb: str,
        config: Mapping[str, Any],
        may_change: Sequence[str] = (),
    ) -> RunFolder:
        """A new run, or the one in ``path`` if it is of the same molecule with the same configuration.

        Args:
            path: a folder that does not exist, is empty, or holds the run to go on with.
            kind: ``"md"`` (its config needs ``timestep_fs``), ``"chain"``, ``"exploration"`` or ``"frames"``.
            name: of the molecule.
            atoms: the molecule.
            topology_pdb: PDB text with the same atoms in the same order.
            config: tables of plain values; ``None`` entries are left out.
            may_change: dotted names of fields whose new value replaces the stored one (such as the length of a run).

        Raises:
            FileExistsError: the folder holds something else; the message names the difference. Nothing is written.
            NotADirectoryError: ``path`` is a file.
            ValueError: bad ``kind`` or ``config``.
        """
        path = Path(path)
        if kind not in KINDS:
            raise ValueError(f"the kind of a run must be one of {', '.join(KINDS)}, got {kind!r}")
        if "run" in config:
            raise ValueError("the configuration of a run cannot have a table named 'run': the store writes it")
        if kind == "md" and "timestep_fs" not in config:
            raise ValueError("the configuration of an MD run needs timestep_fs, from which frame times follow")
        wanted = tomllib.loads(to_toml(config))
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"{path} is a file; give a folder for the run")
        if (path / "config.toml").exists():
            run = cls.open(path)
            run._check_same(kind, name, atoms, topology_pdb, wanted, may_change)
            run.config = wanted
            return run
        texts = {"topology.pdb": topology_pdb, "atoms.json": to_json(atoms.to_json()) + "\n"}

        def check_empty() -> None:
            if path.is_dir() and (found := strangers(path, texts)):
                raise FileExistsError(f"{path} is not a run and not empty (it holds {found[0]}); choose another folder")

        check_empty()
        make_folder(path)
        with exclusive(path):
            if (path / "config.toml").exists():
                raise FileExistsError(f"{path} was made by another process meanwhile; run the command again")
            check_empty()
            make_folder(path / "segments")
            for file, text in texts.items():
                write_atomically(path / file, text)
            run = cls(path, kind, name, atoms, wanted)
            run._write_config()  # last: a folder with a config is complete
        return run

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """The run in ``path``.

        Raises:
            FileNotFoundError: there is no such folder, or it is not a run.
            ValueError: its files are damaged or belong to another run.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"no such run folder: {path}")
        if not path.is_dir():
            raise NotADirectoryError(f"{path} is a file; give the folder of a run")
        for name in ("config.toml", "atoms.json", "topology.pdb"):
            if not (path / name).exists():
                raise FileNotFoundError(f"{path} is not a run folder: it has no {name}")
        head, config = read_config(path)
        try:
            atoms = Atoms.from_json(read_json(path / "atoms.json"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        if head.get("fingerprint") != atoms.fingerprint:
            raise ValueError(f"{path}: atoms.json and config.toml are of different molecules")
        return cls(path, head["kind"], str(head.get("name")), atoms, config)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing, so that two processes cannot write one run; within it, again, for nothing.

        A configuration that was changed by :meth:`create` is written now, and not before.

        Raises:
            Locked: another process holds it (a FileExistsError).
            FileExistsError: another process has changed the run meanwhile, or ``summary.json`` is not the run's.
        """
        if self._held:
            yield
            return
        with exclusive(self.path):
            self._held = True
            try:
                if read_config(self.path)[1] != self._stored:
                    raise FileExistsError(f"{self.path} was changed by another process; run the command again")
                check_summary(self.path / "summary.json")
                remove_temporaries(self.path)
                self.refresh()
                if self.config != self._stored:
                    self._write_config()
                yield
            finally:
                self._held = False

    # --- writing ------------------------------------------------------------------------------------------------

    def append(
        self,
        stream: int,
        positions: Tensor,
        energies: Tensor,
        steps: Tensor,
        state: dict[str, Tensor],
        stopped: Sequence[int] = (),
    ) -> None:
        """Close a segment: frames, and the state from which the next one starts. Atomic.

        Args:
            stream: which stream, from 0.
            positions: (frames, chains, atoms, 3) in nm; stored as float32.
            energies: (frames, chains) in kJ/mol; stored as float64.
            steps: (frames,) MD or MH step of each frame, increasing.
            state: tensors of any shape, enough to go on exactly from the last frame.
            stopped: chains that could not go on, now or earlier; their frames only fill the array, and
                :meth:`trajectory` leaves such chains out.

        Raises:
            ValueError: shapes or steps do not fit, or a value is not finite.
            FileExistsError: another process wrote this segment meanwhile.
        """
        earlier = self._segments.get(stream, [])
        index = len(earlier)
        segments.check_frames(positions, energies, steps, self.atoms.n_atoms)
        if earlier and (earlier[-1].n_chains != positions.shape[1] or earlier[-1].last_step >= int(steps[0])):
            raise ValueError(
                f"segment {index} of stream {stream} does not follow the last: {positions.shape[1]} chains from step "
                f"{int(steps[0])} after {earlier[-1].n_chains} chains to step {earlier[-1].last_step}"
            )
        path = self.path / "segments" / segment_name(stream, index)
        if path.exists():
            raise FileExistsError(f"{path} exists: another process is writing to this run")
        tensors = {
            "positions": positions.to(torch.float32),
            "energies": energies.to(torch.float64),
            "steps": steps.to(torch.int64),
            **{f"{segments.STATE_PREFIX}{key}": value for key, value in state.items()},
        }
        write_segment(path, tensors, molecule=self.atoms.fingerprint, stream=stream, index=index, stopped=stopped)
        self._segments.setdefault(stream, []).append(read_header(path))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        write_json(self.path / "summary.json", summary)

    # --- reading ------------------------------------------------------------------------------------------------

    @property
    def segment_files(self) -> list[Path]:
        """All closed segments, in order."""
        return [header.path for stream in self.streams for header in self._segments[stream]]

    @property
    def streams(self) -> list[int]:
        """Streams that have at least one closed segment."""
        return sorted(self._segments)

    def n_frames(self, stream: int) -> int:
        """Frames in the closed segments of a stream."""
        return sum(header.n_frames for header in self._segments.get(stream, []))

    def n_segments(self, stream: int) -> int:
        """Closed segments of a stream."""
        return len(self._segments.get(stream, []))

    def going_chains(self, stream: int) -> list[int]:
        """Chains of a stream that were not stopped."""
        last = self._segments[stream][-1]
        return [chain for chain in range(last.n_chains) if chain not in last.stopped]

    def last_state(self, stream: int) -> dict[str, Tensor] | None:
        """The state at the end of the last closed segment, or None if there is none."""
        earlier = self._segments.get(stream)
        return segments.read_state(earlier[-1].path) if earlier else None

    def check_state(self, stream: int, state: Mapping[str, Tensor], expected: segments.Like, also: str = "") -> None:
        """Compare a stream's state with what it should be: see :func:`~timewarp.trajectories.segments.check_state`.

        The entry ``step`` or ``cycle`` must be the step of the last frame.

        Raises:
            ValueError: it is damaged, or of other kernels.
        """
        last = self.last_segment(stream)
        segments.check_state(state, expected, str(last.path), also)
        for name in ("step", "cycle"):
            if name in expected and int(state[name]) != last.last_step:
                raise ValueError(
                    f"the checkpoint in {last.path} is damaged: it is of step {int(state[name])}, the last frame of "
                    f"step {last.last_step}; move that segment and later ones away"
                )

    def last_segment(self, stream: int) -> SegmentHeader:
        """The last closed segment of a stream, which holds its checkpoint.

        Raises:
            KeyError: the stream has none.
        """
        return self._segments[stream][-1]

    def refresh(self) -> None:
        """Look again for segments, which other processes may have closed."""
        self._segments = self._scan()

    def trajectory(self, stride: int = 1, discard: int = 0, streams: Sequence[int] | None = None) -> Trajectory:
        """Frames of all chains that were not stopped in memory: 264 MB per million frames of 22 atoms.

        Args:
            stride: keep every ``stride``-th frame.
            discard: frames dropped from the start of each chain first.
            streams: which streams; all by default.

        Raises:
            ValueError: there are no frames left, or the streams' steps disagree.
        """
        if stride < 1 or discard < 0:
            raise ValueError(f"stride must be at least 1 and discard at least 0, got {stride} and {discard}")
        chosen = self.streams if streams is None else list(streams)
        if unknown := [s for s in chosen if s not in self._segments]:
            raise ValueError(f"{self.path} has no stream {unknown[0]}; it has {self.streams}")
        shortest = min((self.n_frames(s) for s in chosen), default=0)
        n_frames = len(range(discard, shortest, stride))
        if n_frames == 0:
            raise ValueError(
                f"{self.path} has {shortest} frames per chain, none left after {discard} discarded; run it for longer"
            )
        kept = [self.going_chains(s) for s in chosen]
        n_kept = sum(map(len, kept))
        if n_kept == 0:
            raise ValueError(f"{self.path}: every replica has stopped; see its summary.json, and run it differently")
        positions = torch.empty(n_kept, n_frames, self.atoms.n_atoms, 3, dtype=torch.float32)
        energies = torch.empty(n_kept, n_frames, dtype=torch.float64)
        steps = torch.full((len(chosen), n_frames), -1, dtype=torch.int64)
        first = 0
        for row, (stream, chains) in enumerate(zip(chosen, kept, strict=True)):
            for start, header in self._starts(stream):
                if header.n_chains != self.last_segment(stream).n_chains:
                    raise ValueError(f"{header.path} holds {header.n_chains} chains, unlike the last segment")
                skip = max(discard - start, -(start - discard) % stride)
                place = max(start - discard + stride - 1, 0) // stride
                wanted = min(len(range(skip, header.n_frames, stride)), n_frames - place)
                if wanted <= 0:
                    continue
                where = slice(place, place + wanted)
                x, u, k = (t[skip::stride][:wanted] for t in segments.read_frames(header.path))
                positions[first : first + len(chains), where] = x[:, chains].transpose(0, 1)
                energies[first : first + len(chains), where] = u[:, chains].transpose(0, 1)
                steps[row, where] = k
            first += len(chains)
        if bool((steps != steps[0]).any()):
            raise ValueError(f"{self.path}: the streams' frames are not at the same steps; choose one with streams=")
        spacing = float(steps[0, 1] - steps[0, 0]) if n_frames > 1 else float(steps[0, 0])
        if self.kind == "md":
            spacing *= float(self.config["timestep_fs"]) / 1000
        unit = {"md": "ps", "frames": "frame"}.get(self.kind, "step")
        numbers = [
            s * self._segments[s][-1].n_chains + c for s, chains in zip(chosen, kept, strict=True) for c in chains
        ]
        labels = superchains_of_run(self.kind, self.config, numbers)
        return Trajectory(self.atoms, positions, energies, steps[0], spacing, unit, self.kind, self.name, labels)

    # --- inside -------------------------------------------------------------------------------------------------

    def _starts(self, stream: int) -> Iterator[tuple[int, SegmentHeader]]:
        start = 0
        for header in self._segments[stream]:
            yield start, header
            start += header.n_frames

    def _write_config(self) -> None:
        head = {"schema": SCHEMA, "kind": self.kind, "name": self.name, "fingerprint": self.atoms.fingerprint}
        write_toml(self.path / "config.toml", {**self.config, "run": head})
        self._stored = self.config

    def _scan(self) -> dict[int, list[SegmentHeader]]:
        found: dict[int, list[SegmentHeader]] = {}
        for path in sorted((self.path / "segments").glob("*.safetensors")):
            header = read_header(path)
            if path.name != segment_name(header.stream, header.index):
                raise ValueError(f"{path} was written as {segment_name(header.stream, header.index)}; rename it back")
            if header.molecule != self.atoms.fingerprint or header.n_atoms != self.atoms.n_atoms:
                raise ValueError(f"{path} belongs to another molecule than {self.path}; move it away")
            earlier = found.setdefault(header.stream, [])
            if header.index != len(earlier):
                raise ValueError(
                    f"{self.path}: segment {segment_name(header.stream, len(earlier))} is missing; "
                    f"put it back, or move the later ones of stream {header.stream} away"
                )
            earlier.append(header)
        return found

    def _check_same(
        self,
        kind: str,
        name: str,
        atoms: Atoms,
        topology_pdb: str,
        wanted: dict[str, Any],
        may_change: Sequence[str],
    ) -> None:
        if atoms.fingerprint != self.atoms.fingerprint:
            raise FileExistsError(f"{self.path} holds another molecule: {self.name}, not {name}; choose another folder")
        if where := differing(self.stereochemistry, stereochemistry(topology_pdb, atoms), atoms):
            raise FileExistsError(
                f"{self.path} holds a stereoisomer of {name}: they differ in {where}; choose another folder"
            )
        if kind != self.kind:
            raise FileExistsError(f"{self.path} holds a run of kind {self.kind}, not {kind}; choose another folder")
        check_config(self.path, self.config, wanted, may_change)
