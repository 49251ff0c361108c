"""Find trained networks: by the name of a shipped one, or by the folder or file of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..energies import Parameters
from ..flows import Network, Proposer, network_class
from ..flows.chemistry import ELEMENTS
from ..flows.registry import build_network
from ..flows.weights import WeightsFile, describe_weights, load_network
from ..state import Atoms

PRIOR = "prior"
"""Name of the untrained network of family C2: its density is the physics prior alone."""
_PRIOR_SIZE = {"width": 8, "n_blocks": 1, "n_heads": 1, "expansion": 1}
SAME_RESIDUE = {"HIE": "HIS", "HSE": "HIS"}
"""Names of other programs for residues that a training knew."""
TRAINED_NAME = "model"
"""Name of the model in a folder that ``timewarp train`` wrote."""

EARLIER = "earlier"
"""Folder of networks that were shipped under a name before, for runs that go on with them."""


@dataclass(frozen=True)
class LoadedModel:
    """A trained network, ready to propose.

    Attributes:
        name: its name.
        network: the network.
        sha256: of the weights file.
        description: what its files say of it.
    """

    name: str
    network: Network
    sha256: str
    description: WeightsFile

    def __repr__(self) -> str:
        return f"LoadedModel({self.name!r}, family {self.network.kind}, for {self.description.residues})"

    @property
    def kind(self) -> str:
        """The kind of network, as files have it."""
        return self.network.kind

    def proposers(
        self, parameters: Parameters | None, kT: float, *, device: str = "cpu", **options: Any
    ) -> dict[str, Proposer]:
        """What proposes with this network, by the name of the kernel; see :meth:`timewarp.flows.Network.proposers`.

        Args:
            parameters: of the molecule's energy; None where it is not known.
            kT: thermal energy in kJ/mol.
            device: where the network computes.
            options: ``engine`` and ``threads``.
        """
        return self.network.to(device).eval().proposers(parameters, kT, **options)


def package_folder() -> Path:
    """Where the shipped networks lie."""
    return Path(__file__).parent


def names() -> list[str]:
    """Names of the shipped networks, in alphabetical order."""
    return sorted(path.stem for path in package_folder().glob("*.toml"))


def find(name_or_path: str | Path, sha256: str | None = None) -> WeightsFile:
    """Describe a network by its shipped name, its folder, or its ``.toml`` or ``.safetensors`` file.

    Args:
        name_or_path: which one.
        sha256: of the weights that a run began with. Where a shipped name stands for other weights now, those of an
            earlier version are found, if they are kept: a run goes on with the network that it began with.

    Raises:
        FileNotFoundError: there is none; the message lists the shipped ones.
        ValueError: the description is damaged.
    """
    if str(name_or_path) == PRIOR:
        training = {"molecule": "any molecule, untrained"}
        return WeightsFile(Path(PRIOR), PRIOR, "C2", "any molecule", "", dict(_PRIOR_SIZE), training, "untrained")
    if isinstance(name_or_path, str) and name_or_path in names():
        now = describe_weights(package_folder() / f"{name_or_path}.toml")
        if sha256 in (None, now.sha256):
            return now
        kept = map(describe_weights, sorted((package_folder() / EARLIER).glob("*.toml")))
        return next((d for d in kept if d.name == now.name and d.sha256 == sha256), now)
    path = Path(name_or_path)
    if path.is_dir():
        toml = path / f"{TRAINED_NAME}.toml"
        if not toml.is_file():
            state = "its training has not finished; resume it with the same `timewarp train` command"
            cause = state if (path / "checkpoint.safetensors").is_file() else f"it holds no {TRAINED_NAME}.toml"
            raise FileNotFoundError(f"no trained model in {path}: {cause}")
        return describe_weights(toml)
    if path.suffix in (".toml", ".safetensors") and path.is_file():
        return describe_weights(path.with_suffix(".toml"))
    shipped = ", ".join(names()) or "none"
    raise FileNotFoundError(
        f"no model {str(name_or_path)!r}; the shipped ones are: {shipped}; or give the folder of a `timewarp train` run"
    )


def load(name_or_path: str | Path, atoms: Atoms, sha256: str | None = None) -> LoadedModel:
    """Load a trained network for a molecule; see :func:`find`.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it was trained for another molecule, or its files are damaged.
    """
    described = find(name_or_path, sha256)
    if described.name == PRIOR and described.toml == Path(PRIOR):
        # The read-out of a new network is zero, so that whatever its other weights are, nothing corrects the prior.
        return LoadedModel(
            PRIOR, build_network(atoms, described.family, described.config).eval(), "untrained", described
        )
    return LoadedModel(described.name, load_network(described, atoms), described.sha256, described)


def default_for(atoms: Atoms, family: str | None = None) -> str | None:
    """Name of the shipped network for a molecule (of one family, if given), or None.

    Of several networks that serve it, that of the most preferred kind (:attr:`timewarp.flows.Network.preference`). A
    network that has learnt peptides serves all that has an amide bond, whatever its residues and elements; others are
    served by the physics prior, which accepts as much there and is faster (docs/limits.md has the figures).
    """
    serves_any = bool(atoms.tree.rotatable)
    is_peptide_like = atoms.n_amino_acids > 0 or len(atoms.peptide_bonds) > 0
    best: tuple[int, str] | None = None
    for described in map(find, names()):
        kind = network_class(described.family)
        own = described.fingerprint == atoms.fingerprint
        general = kind.transferable and kind.trained_on == "peptides" and serves_any and is_peptide_like
        if (own or general) and family in (None, kind.kind):
            best = min(best or (kind.preference, described.name), (kind.preference, described.name))
    if best is None and serves_any and family in (None, "C2"):
        return PRIOR
    return best[1] if best else None


def outside(training: Mapping[str, Any], atoms: Atoms) -> list[str]:
    """In what a molecule differs from all that a network was trained on, one phrase each.

    Args:
        training: what the network's file says of its training, with ``longest_peptide`` and ``known_residues``; what it
            does not say is not judged.
        atoms: the molecule.
    """
    found = []
    longest, n = training.get("longest_peptide"), atoms.n_amino_acids
    if isinstance(longest, int) and n > longest:
        found.append(f"it has {n} residues, and the longest peptide of the training {longest}")
    known = training.get("known_residues")
    if isinstance(known, list):
        alike = {SAME_RESIDUE.get(name, name) for name in atoms.residue_names}
        if new := sorted(alike - set(known)):
            found.append(f"the training knew no {', '.join(new)}")
        if new := sorted(set(atoms.elements) - set(ELEMENTS)):
            found.append(f"the training knew no element {', '.join(new)}")
    return found
