"""Slow coordinates (TICA) and metastable states of MD, and where another run lies among them; through deeptime.

TICA: Perez-Hernandez et al., J. Chem. Phys. 139, 015102 (2013); Koopman reweighting: Wu et al., J. Chem. Phys. 146,
154104 (2017); Markov state models and PCCA+: Prinz et al., J. Chem. Phys. 134, 174105 (2011), Roeblitz & Weber (2013).
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..geometry import distances
from ..state import Atoms
from .free_energy import mean
from .torsions import TrajectoryLike, as_positions, kind_of_torsion, named_torsions, torsion_angles

FIT_FRAMES = 200_000
"""TICA and clusters are fitted to about so many frames."""
LAG_PS = 20.0
"""Lag where none is asked for."""
FRAMES_AT_ONCE = 5_000
ALL_PAIRS_UP_TO = 4
"""Amino acids of which all pairs of atoms are features: their number grows with the square of the length."""
SEPARATIONS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
"""Residues between the alpha carbons of a pair, in longer peptides."""
CLUSTERS = 80
MOST_STATES = 6
RARE = 1e-3
"""A state with less of the reference than this is not looked for."""


def tica_features(positions: Any, atoms: Atoms) -> np.ndarray:
    """Distances (nm) between atoms, and sine and cosine of torsions but chi: (..., features), float32.

    Of up to :data:`ALL_PAIRS_UP_TO` amino acids, the distances are those between all C, N, S and P atoms. Of more, they
    are those between alpha carbons that lie 2, 3, 4, 6, 8, 12, ... residues apart along the chain, so that the number
    of features is in proportion to the length; sine and cosine of chi1 then stand for the side chains.

    Args:
        positions: (chains, frames, atoms, 3) in nm.
        atoms: the molecule.
    """
    x = as_positions(positions, atoms)
    angles = torsion_angles(x, atoms, _feature_torsions(atoms))
    pairs = torch.tensor(feature_pairs(atoms)).reshape(-1, 2)
    parts = [distances(x, pairs).numpy().astype(np.float32)]
    parts += [part(angle)[..., None] for angle in angles.values() for part in (np.sin, np.cos)]
    return np.concatenate(parts, -1).astype(np.float32)


def n_features(atoms: Atoms) -> int:
    """How many :func:`tica_features` a molecule has."""
    return len(feature_pairs(atoms)) + 2 * len(_feature_torsions(atoms))


_FEATURED = ("C", "N", "S", "P")


def feature_pairs(atoms: Atoms) -> list[tuple[int, int]]:
    """The pairs of atoms whose distances are features."""
    if atoms.n_amino_acids <= ALL_PAIRS_UP_TO:
        heavy = [i for i, element in enumerate(atoms.elements) if element in _FEATURED]
        return list(itertools.combinations(heavy, 2))
    alphas = [i for i, name in enumerate(atoms.names) if name == "CA"]
    apart = [n for n in SEPARATIONS if n < len(alphas)]
    return [(alphas[k], alphas[k + n]) for n in apart for k in range(len(alphas) - n)]


def _feature_torsions(atoms: Atoms) -> list[str]:
    """All but side chains'; of a long chain chi1 too."""
    with_chi1 = atoms.n_amino_acids > ALL_PAIRS_UP_TO
    return [
        name for name in named_torsions(atoms)
        if kind_of_torsion(name) != "chi" or (with_chi1 and name.startswith("chi1"))
    ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class SlowCoordinates:
    """A TICA projection with its metastable states, fitted on MD.

    Attributes:
        model: deeptime's covariance-based Koopman model.
        clusters: deeptime's cluster model over the first two coordinates.
        state_of_cluster: (clusters,) the metastable state of each; -1 for clusters that the dynamics never connects.
        n_states: number of metastable states, the most populated first.
        lag_frames: lag of TICA and of the Markov state model.
        timescales: implied time scales of the Markov state model in frames, slowest first.
    """

    model: Any
    clusters: Any
    state_of_cluster: np.ndarray
    n_states: int
    lag_frames: int
    timescales: np.ndarray

    def project(self, positions: Any, atoms: Atoms) -> np.ndarray:
        """The first two slow coordinates (chains, frames, 2)."""
        x = as_positions(positions, atoms)
        flat = x.reshape(-1, *x.shape[-2:])
        blocks = (flat[k : k + FRAMES_AT_ONCE] for k in range(0, len(flat), FRAMES_AT_ONCE))
        found = [np.asarray(self.model.transform(tica_features(b[None], atoms)[0]))[:, :2] for b in blocks]
        return np.concatenate(found).reshape(*x.shape[:-2], 2)

    def implied_timescales(self, projected: np.ndarray, lags: Sequence[int], n: int = 3) -> np.ndarray:
        """Implied time scales of Markov state models over the clusters, at several lags (Swope et al. 2004).

        Where they no longer grow with the lag, the model is Markovian. What lies below the lag cannot be told.

        Args:
            projected: (chains, frames, 2), of the dynamics.
            lags: in frames.
            n: how many time scales.

        Returns:
            (lags, n) in frames; nan where the model has fewer, or there is none.
        """
        labels = [self.clusters.transform(np.ascontiguousarray(p, dtype=np.float64)) for p in projected]
        found = np.full((len(lags), n), np.nan)
        for row, lag in enumerate(lags):
            if lag < projected.shape[1]:
                with contextlib.suppress(ValueError, AssertionError):  # nothing comes back at this lag
                    values = _markov_model(labels, lag)[1].timescales(k=n)
                    found[row, : len(values)] = values
        return found

    def states(self, projected: np.ndarray) -> np.ndarray:
        """The metastable state of each projected frame; -1 for none."""
        flat = np.ascontiguousarray(projected.reshape(-1, 2), dtype=np.float64)
        return self.state_of_cluster[self.clusters.transform(flat)].reshape(projected.shape[:-1])


def fit_slow_coordinates(
    positions: Any,
    atoms: Atoms,
    lag_frames: int,
    *,
    seed: int = 0,
    n_clusters: int = CLUSTERS,
    most_frames: int = FIT_FRAMES,
) -> SlowCoordinates:
    """TICA of MD, Koopman-reweighted, and its metastable states.

    There is one state more than the Markov state model has implied time scales longer than the lag, and at most six.

    Args:
        positions: (chains, frames, atoms, 3) in nm, of MD.
        atoms: the molecule.
        lag_frames: lag in frames.
        seed: of the clustering.
        n_clusters: of k-means, over the plane of the first two coordinates.
        most_frames: fit to about so many frames. Of longer runs, frames are taken at a divisor of the lag, and if that
            is not enough some of the chains.

    Raises:
        ValueError: chains are not longer than the lag, or too little moves in them.
    """
    x = as_positions(positions, atoms)
    n_chains, n_frames = x.shape[:2]
    if not 1 <= lag_frames < n_frames // 2:
        raise ValueError(
            f"a lag of {lag_frames} frames needs chains of more than {2 * lag_frames}, and these have {n_frames}; give "
            "a shorter --lag, or longer MD"
        )
    wanted = max(1, n_chains * n_frames // most_frames)
    stride = max(d for d in range(1, lag_frames + 1) if lag_frames % d == 0 and d <= wanted)
    few_chains = max(1, min(n_chains, most_frames * stride // n_frames))
    chains = np.unique(np.linspace(0, n_chains - 1, few_chains).astype(int))
    features = list(tica_features(x[chains, ::stride], atoms).astype(np.float64))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what hardly moves, and of centres that still move by 1e-5
            return _fit(features, lag_frames, stride, n_clusters, seed)
    except (AssertionError, ZeroDivisionError, np.linalg.LinAlgError) as error:
        raise ValueError(f"too little moves in {atoms.residues} to fit slow coordinates: run longer") from error


def _fit(features: list[np.ndarray], lag_frames: int, stride: int, n_clusters: int, seed: int) -> SlowCoordinates:
    from deeptime.clustering import KMeans
    from deeptime.covariance import KoopmanWeightingEstimator
    from deeptime.decomposition import TICA

    lag = lag_frames // stride
    weights = KoopmanWeightingEstimator(lagtime=lag).fit(features).fetch_model()
    estimator = TICA(lagtime=lag, dim=2)
    model = estimator.fit_from_timeseries(features, weights=weights).fetch_model()
    projected = [np.asarray(model.transform(f))[:, :2] for f in features]
    if projected[0].shape[1] < 2:
        raise ValueError("too little moves to fit two slow coordinates: run longer")
    pooled = np.concatenate(projected)
    few = pooled[:: max(1, len(pooled) // 20_000)]
    clusters = KMeans(min(n_clusters, max(2, len(few) // 10)), fixed_seed=seed, max_iter=50).fit(few).fetch_model()
    labels = [clusters.transform(np.ascontiguousarray(p)) for p in projected]
    state_of_cluster, n_states, timescales = _metastable(labels, len(clusters.cluster_centers), lag)
    return SlowCoordinates(model, clusters, state_of_cluster, n_states, lag_frames, stride * timescales)


def usual_lag(trajectory: TrajectoryLike, lag_ps: float = LAG_PS) -> int:
    """A lag in frames: of a chain one, of MD so many ps, but at most a fifth of a replica."""
    frames = round(lag_ps / trajectory.frame_spacing) if trajectory.unit == "ps" else 1
    return max(1, min(frames, np.shape(trajectory.energies)[1] // 5))


def describe_states(
    slow: SlowCoordinates, projected: Mapping[str, np.ndarray]
) -> tuple[dict[int, np.ndarray], dict[str, list[tuple[float, float]]]]:
    """Where the metastable states lie in the plane, and how populated they are.

    Args:
        slow: the coordinates.
        projected: run -> (chains, frames, 2).

    Returns:
        Number of each state that was met, from 1 on -> the median of its frames; run -> (population, standard error) of
        each state.
    """
    labels = {name: slow.states(y) for name, y in projected.items()}
    points = np.concatenate([y.reshape(-1, 2) for y in projected.values()])
    state = np.concatenate([s.ravel() for s in labels.values()])
    centres = {k + 1: np.median(points[state == k], axis=0) for k in range(slow.n_states) if (state == k).any()}
    populations = {}
    for name, states in labels.items():
        found = [mean((states == k).astype(float)) for k in range(slow.n_states)]
        populations[name] = [(f.value, f.error) for f in found]
    return centres, populations


def missed_states(reference: np.ndarray, run: np.ndarray, n_states: int, rare: float = RARE) -> dict[int, float]:
    """States that the run never visited, with their population in the reference."""
    populations = {state: float((reference == state).mean()) for state in range(n_states)}
    return {state: p for state, p in populations.items() if p >= rare and not (run == state).any()}


def _markov_model(labels: list[np.ndarray], lag: int) -> tuple[Any, Any]:
    """Counts of the largest connected set of clusters, and the reversible Markov state model of it."""
    from deeptime.markov import TransitionCountEstimator
    from deeptime.markov.msm import MaximumLikelihoodMSM

    counts = TransitionCountEstimator(lagtime=lag, count_mode="sliding").fit(labels).fetch_model()
    connected = counts.submodel_largest()
    return connected, MaximumLikelihoodMSM(reversible=True).fit(connected).fetch_model()


def _metastable(labels: list[np.ndarray], n_clusters: int, lag: int) -> tuple[np.ndarray, int, np.ndarray]:
    """The metastable state of each cluster, how many there are, and implied time scales in frames."""
    connected, msm = _markov_model(labels, lag)
    timescales = np.asarray(msm.timescales())
    slow = timescales[: MOST_STATES - 1]
    slow = slow[slow > lag]
    of_cluster = np.full(n_clusters, -1, dtype=np.int64)
    kept = np.asarray(connected.state_symbols)
    if len(slow) == 0:
        of_cluster[kept] = 0
        return of_cluster, 1, timescales
    n_states = len(slow) + 1
    assignments = np.asarray(msm.pcca(n_states).assignments)
    weight = np.bincount(assignments, weights=msm.stationary_distribution, minlength=n_states)
    rank = np.empty(n_states, dtype=np.int64)
    rank[np.argsort(-weight)] = np.arange(n_states)
    of_cluster[kept] = rank[assignments]
    return of_cluster, int((weight > 0).sum()), timescales  # a state that no cluster is most of has none
