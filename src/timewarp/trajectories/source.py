"""What can be judged, compared and exported: a run folder, or frames from elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..energies import Parameters
from ..state import Atoms
from .trajectory import Trajectory


class _Static(type(Protocol)):  # type: ignore[misc]
    """Looks whether an object has the names without asking for their values, as Python does from 3.12 on."""

    def __instancecheck__(cls, instance: object) -> bool:
        return cls is not Source or all(inspect.getattr_static(instance, name, ...) is not ... for name in MEMBERS)


@runtime_checkable
class Source(Protocol, metaclass=_Static):
    """Frames of one molecule, and how they came to be; :class:`~timewarp.trajectories.RunFolder` is one."""

    @property
    def path(self) -> Path:
        """Where it was read from; named in messages."""

    @property
    def name(self) -> str:
        """The molecule, as the user gave it."""

    @property
    def kind(self) -> str:
        """``"md"``, ``"chain"``, ``"frames"`` (of another program), or ``"exploration"``, whose frames are biased."""

    @property
    def atoms(self) -> Atoms:
        """The molecule."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration; ``preset``, ``kernels`` and ``starts`` are read where there are any."""

    @property
    def topology_pdb(self) -> str:
        """PDB text of a structure with the same atoms in the same order: the chirality and cis/trans pattern."""

    @property
    def parameters(self) -> Parameters | None:
        """The compiled energy; None where there is none beside the frames."""

    @property
    def streams(self) -> list[int]:
        """Numbers of the streams that have frames."""

    def n_frames(self, stream: int) -> int:
        """Frames of each chain of a stream."""

    @property
    def temperature_K(self) -> float:
        """In K.

        Raises:
            ValueError: it is not known.
        """

    @property
    def is_dynamics(self) -> bool:
        """Whether frames follow each other in physical time."""

    def summary(self) -> Mapping[str, Any] | None:
        """What ``summary.json`` holds, or None."""

    def check_unbiased(self) -> None:
        """Refuse frames that are no equilibrium samples.

        Raises:
            ValueError: they are biased.
        """

    def trajectory(self, stride: int = 1, discard: int = 0) -> Trajectory:
        """Frames of all chains.

        Args:
            stride: keep every ``stride``-th frame.
            discard: frames dropped from the start of each chain first.

        Raises:
            ValueError: there are no frames left.
        """


MEMBERS = tuple(name for name in vars(Source) if not name.startswith("_"))
