"""Scalar couplings from backbone torsions: published Karplus relations, with the errors that their authors give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DEFAULT = "graf2007"
"""The parameters with which Graf et al. read their couplings, with the errors of Best, Buchete & Hummer (2008)."""


@dataclass(frozen=True)
class Karplus:
    """J = A cos^2(theta + delta) + B cos(theta + delta) + C, theta a backbone torsion.

    Attributes:
        coupling: which coupling, such as ``3J(HN,HA)``.
        torsion: ``phi`` or ``psi`` of the residue, or ``psi-1`` of the one before.
        delta: phase in degrees, for an L residue; a D residue has the opposite sign.
        a: A in Hz.
        b: B in Hz.
        c: C in Hz.
        sigma: root mean square deviation of the relation from measured couplings, in Hz.
    """

    coupling: str
    torsion: str
    delta: float
    a: float
    b: float
    c: float
    sigma: float

    @property
    def torsions(self) -> tuple[str, ...]:
        """The torsions that it depends on."""
        return (self.torsion,)

    def __call__(self, angles: Mapping[str, np.ndarray], hand: float = 1.0) -> np.ndarray:
        """The coupling in Hz.

        Args:
            angles: torsions in rad, under the names of :attr:`torsions`.
            hand: 1 for an L residue, -1 for a D residue.
        """
        cosine = np.cos(angles[self.torsion] + hand * np.deg2rad(self.delta))
        return self.a * cosine**2 + self.b * cosine + self.c


@dataclass(frozen=True)
class Hennig:
    """3J(HN,CA) from phi and the psi before it (Hennig et al., J. Am. Chem. Soc. 122, 6268 (2000), equation 3).

    Attributes:
        coupling: its name.
        sigma: in Hz.
    """

    coupling: str = "3J(HN,CA)"
    sigma: float = 0.10

    @property
    def torsions(self) -> tuple[str, ...]:
        """The torsions that it depends on."""
        return ("phi", "psi-1")

    def __call__(self, angles: Mapping[str, np.ndarray], hand: float = 1.0) -> np.ndarray:
        """The coupling in Hz; arguments as of :class:`Karplus`."""
        phi, psi = hand * angles["phi"], hand * angles["psi-1"]
        return (
            -0.23 * np.cos(phi)
            - 0.20 * np.cos(psi)
            + 0.07 * np.sin(phi)
            + 0.08 * np.sin(psi)
            + 0.07 * np.cos(phi) * np.cos(psi)
            + 0.12 * np.cos(phi) * np.sin(psi)
            - 0.08 * np.sin(phi) * np.cos(psi)
            - 0.14 * np.sin(phi) * np.sin(psi)
            + 0.54
        )


Relation = Karplus | Hennig

_PSI: tuple[Relation, ...] = (
    # Wirmer & Schwalbe, J. Biomol. NMR 23, 47 (2002); Ding & Gronenborn, J. Am. Chem. Soc. 126, 6232 (2004).
    Karplus("1J(N,CA)", "psi", 0.0, 1.70, -0.98, 9.51, 0.59),
    Karplus("2J(N,CA)", "psi-1", 0.0, -0.66, -1.52, 7.85, 0.50),
    Hennig(),
)

# Hu & Bax (1997), which later sets of parameters keep.
_HA_C = Karplus("3J(HA,C)", "phi", 120.0, 3.72, -2.18, 1.28, 0.38)
_C_C = Karplus("3J(C,C)", "phi", 0.0, 1.36, -0.93, 0.60, 0.22)

SETS: dict[str, tuple[Relation, ...]] = {
    # Hu & Bax, J. Am. Chem. Soc. 119, 6360 (1997), as Graf et al. (2007) use them; errors of Best et al. (2008).
    "graf2007": (
        Karplus("3J(HN,HA)", "phi", -60.0, 7.09, -1.42, 1.55, 0.91),
        Karplus("3J(HN,C)", "phi", 180.0, 4.29, -1.01, 0.00, 0.59),
        _HA_C,
        Karplus("3J(HN,CB)", "phi", 60.0, 3.06, -0.74, 0.13, 0.39),
        _C_C,
        *_PSI,
    ),
    # Voegeli, Ying, Grishaev & Bax, J. Am. Chem. Soc. 129, 9377 (2007), table 1: fluctuations about a rigid structure
    # taken out of the parameters, which suits averages over an ensemble.
    "bax2007": (
        Karplus("3J(HN,HA)", "phi", -60.0, 8.40, -1.36, 0.33, 0.36),
        Karplus("3J(HN,C)", "phi", 180.0, 4.36, -1.08, -0.01, 0.30),
        _HA_C,
        Karplus("3J(HN,CB)", "phi", 60.0, 3.71, -0.59, 0.08, 0.22),
        _C_C,
        *_PSI,
    ),
    # The same paper, without that correction.
    "bax2007-rigid": (
        Karplus("3J(HN,HA)", "phi", -60.0, 7.97, -1.26, 0.63, 0.42),
        Karplus("3J(HN,C)", "phi", 180.0, 4.12, -1.10, 0.11, 0.31),
        _HA_C,
        Karplus("3J(HN,CB)", "phi", 60.0, 3.51, -0.53, 0.14, 0.25),
        _C_C,
        *_PSI,
    ),
    # Schmidt, Bluemel, Loehr & Rueterjans, J. Biomol. NMR 14, 1 (1999).
    "schmidt1999": (
        Karplus("3J(HN,HA)", "phi", -60.0, 7.90, -1.05, 0.65, 0.25),
        Karplus("3J(HN,C)", "phi", 180.0, 4.41, -1.36, 0.24, 0.39),
        Karplus("3J(HA,C)", "phi", 120.0, 3.76, -1.63, 0.89, 0.44),
        Karplus("3J(HN,CB)", "phi", 60.0, 2.90, -0.56, 0.18, 0.25),
        Karplus("3J(C,C)", "phi", 0.0, 1.51, -1.09, 0.52, 0.30),
        *_PSI,
    ),
    # Case, Scheurer & Brueschweiler, J. Am. Chem. Soc. 122, 10390 (2000): density functional theory, on Ace-A-Nme and
    # on AA-NH2; errors as Best et al. (2008) take them.
    "case2000-dft1": (
        Karplus("3J(HN,HA)", "phi", -60.0, 9.44, -1.53, -0.07, 0.91),
        Karplus("3J(HN,C)", "phi", 180.0, 5.58, -1.06, -0.30, 0.59),
        Karplus("3J(HA,C)", "phi", 120.0, 4.38, -1.87, 0.56, 0.38),
        Karplus("3J(HN,CB)", "phi", 60.0, 5.15, 0.01, -0.32, 0.39),
        Karplus("3J(C,C)", "phi", 0.0, 2.39, -1.25, 0.26, 0.22),
        *_PSI,
    ),
    "case2000-dft2": (
        Karplus("3J(HN,HA)", "phi", -64.51, 9.14, -2.28, -0.29, 0.91),
        Karplus("3J(HN,C)", "phi", 172.49, 5.34, -1.46, -0.29, 0.59),
        Karplus("3J(HA,C)", "phi", 118.61, 4.77, -1.85, 0.49, 0.38),
        Karplus("3J(HN,CB)", "phi", 58.18, 4.58, -0.36, -0.31, 0.39),
        Karplus("3J(C,C)", "phi", -2.56, 2.71, -0.91, 0.21, 0.22),
        *_PSI,
    ),
}
"""Sets of relations by name. 1J(N,CA), 2J(N,CA) and 3J(HN,CA) are the same in all of them."""

COUPLINGS = tuple(relation.coupling for relation in SETS[DEFAULT])
"""Names of the couplings, in the order in which they are listed."""


def relation_of(coupling: str, karplus: str = DEFAULT) -> Relation:
    """The relation of one coupling in a set.

    Raises:
        ValueError: there is no such set or coupling.

    >>> relation_of("3J(HN,HA)").sigma
    0.91
    """
    for relation in relations(karplus):
        if relation.coupling == coupling:
            return relation
    raise ValueError(f"no coupling {coupling!r}; the couplings are {', '.join(COUPLINGS)}")


def relations(karplus: str = DEFAULT) -> Sequence[Relation]:
    """All relations of a set.

    Raises:
        ValueError: there is no such set.
    """
    if karplus not in SETS:
        raise ValueError(f"no Karplus parameters {karplus!r}; the sets are {', '.join(SETS)}")
    return SETS[karplus]
