"""Trained densities on disk: ``<name>.safetensors`` for the weights, ``<name>.toml`` for what they are weights of."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ..files import read_toml, sha256, write_atomically, write_toml
from ..state import Atoms
from .cartesian import CartesianFlow
from .cartesian_config import CartesianFlowConfig
from .growth import GrowthConfig, GrowthFlow
from .internal import InternalFlow, InternalFlowConfig
from .torsion import TorsionFlow, TorsionFlowConfig

SCHEMA = 1
FAMILIES: dict[str, tuple[type, type]] = {
    "A": (CartesianFlow, CartesianFlowConfig),
    "B": (InternalFlow, InternalFlowConfig),
    "C": (TorsionFlow, TorsionFlowConfig),
    "C2": (GrowthFlow, GrowthConfig),
}
"""Family name -> (density, its config)."""

TRANSFERABLE = ("A", "C2")
"""Families whose weights serve any molecule of known elements, not only the one that they were trained on."""

Flow = TorsionFlow | InternalFlow
"""A density over internal coordinates."""

Trainable = Flow | CartesianFlow | GrowthFlow
"""A density that can be trained and saved."""


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file says of itself, without reading the weights.

    Attributes:
        toml: the description's path; the weights lie beside it.
        name: name of the model.
        family: family of proposal, a key of ``FAMILIES``.
        residues: residue names of the molecule that it was trained for, such as ``ACE-ALA-NME``; or how many.
        fingerprint: :attr:`timewarp.state.Atoms.fingerprint` of that molecule, or of the first of them.
        config: fields of the family's config.
        training: how it was trained, and the figures of its validation.
        sha256: of the weights file.
    """

    toml: Path
    name: str
    family: str
    residues: str
    fingerprint: str
    config: dict[str, Any]
    training: dict[str, Any]
    sha256: str

    @property
    def safetensors(self) -> Path:
        """The weights' path."""
        return self.toml.with_suffix(".safetensors")


def build_flow(atoms: Atoms, family: str, config: Mapping[str, Any] | None = None) -> Any:
    """A new, untrained density of a family for a molecule; family A's ``serve`` gives it others.

    Raises:
        ValueError: an unknown family, an unknown or impossible config field, or a molecule that it cannot serve.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family of proposals {family!r}; the families are {', '.join(sorted(FAMILIES))}")
    density, config_type = FAMILIES[family]
    given = dict(config or {})
    allowed = {f.name for f in fields(config_type)}
    if unknown := sorted(set(given) - allowed):
        raise ValueError(
            f"family {family} has no setting {unknown[0]!r}; its settings are {', '.join(sorted(allowed))}"
        )
    defaults = {f.name: f.default for f in fields(config_type)}
    for name, value in given.items():
        # The other kinds of setting are checked by the config that has them.
        if type(defaults[name]) is int and (not isinstance(value, int) or isinstance(value, bool)):
            raise ValueError(f"setting {name} of family {family} must be a whole number, got {value!r}")
    return density(atoms, config_type(**given))


def save_flow(folder: Path | str, name: str, flow: Trainable, training: Mapping[str, Any]) -> WeightsFile:
    """Write ``<name>.safetensors`` and ``<name>.toml`` (last, so that a description never lacks its weights).

    Args:
        folder: an existing folder.
        name: name of the model.
        flow: the trained density.
        training: how it was trained: plain data for the description.
    """
    toml = Path(folder) / f"{name}.toml"
    weights = toml.with_suffix(".safetensors")
    tensors = {key: value.detach().cpu().contiguous() for key, value in flow.state_dict().items()}
    write_atomically(weights, save(tensors))
    write_toml(
        toml,
        {
            "schema": SCHEMA,
            "name": name,
            "family": flow.family,
            "residues": flow.residues if isinstance(flow, CartesianFlow | GrowthFlow) else flow.atoms.residues,
            "fingerprint": flow.atoms.fingerprint,
            "weights_sha256": sha256(weights),
            "config": asdict(flow.config),
            "training": dict(training),
        },
    )
    return describe_weights(toml)


def describe_weights(toml: Path | str) -> WeightsFile:
    """Read a model's description.

    Raises:
        FileNotFoundError: there is no description or no weights file beside it.
        ValueError: it is not a model description of this version.
    """
    toml = Path(toml)
    data = read_toml(toml)
    if data.get("schema") != SCHEMA:
        raise ValueError(f"{toml} is not a model description: expected schema = {SCHEMA}, got {data.get('schema')!r}")
    try:
        described = WeightsFile(
            toml=toml,
            name=str(data["name"]),
            family=str(data["family"]),
            residues=str(data["residues"]),
            fingerprint=str(data["fingerprint"]),
            config=dict(data["config"]),
            training=dict(data.get("training", {})),
            sha256=str(data["weights_sha256"]),
        )
    except (KeyError, TypeError, ValueError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{toml} is not a model description: {type(error).__name__} {error}") from None
    if not described.safetensors.is_file():
        raise FileNotFoundError(f"the weights {described.safetensors} are missing beside {toml.name}")
    return described


def load_flow(described: WeightsFile, atoms: Atoms) -> Any:
    """Rebuild a trained density for a molecule; a transferable family's for any molecule of known elements.

    Raises:
        ValueError: the weights are of another molecule, or the file is damaged or does not fit its description.
    """
    if described.family not in TRANSFERABLE and described.fingerprint != atoms.fingerprint:
        same = " with other atom names or another atom order" if described.residues == atoms.residues else ""
        raise ValueError(
            f"model {described.name!r} was trained for {described.residues}, but the molecule is "
            f"{atoms.residues}{same}; name a model of this molecule, or train one with `timewarp train`"
        )
    payload = described.safetensors.read_bytes()
    found = sha256(described.safetensors)
    if found != described.sha256:
        raise ValueError(
            f"{described.safetensors} is damaged or not the file that {described.toml.name} describes: its SHA-256 is "
            f"{found[:12]}..., expected {described.sha256[:12]}...; copy both files again"
        )
    flow = build_flow(atoms, described.family, described.config)
    expected = flow.state_dict()
    try:
        tensors = load(payload)
    except SafetensorError as error:
        raise ValueError(f"{described.safetensors} is not a safetensors file: {error}") from None
    check_tensors(tensors, expected, str(described.safetensors))
    flow.load_state_dict(tensors)
    return flow.eval()


def check_tensors(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], source: str) -> None:
    """Compare names, shapes and types of tensors from a file with what they should be; refuse non-finite values.

    Raises:
        ValueError: naming the first difference.
    """
    if missing := sorted(set(expected) - set(tensors)):
        raise ValueError(
            f"{source} does not fit this network: it lacks {missing[0]!r} ({len(missing)} tensors missing)"
        )
    if extra := sorted(set(tensors) - set(expected)):
        raise ValueError(f"{source} does not fit this network: it has an unknown tensor {extra[0]!r}")
    for name, tensor in tensors.items():
        want = expected[name]
        if tensor.shape != want.shape or tensor.dtype != want.dtype:
            raise ValueError(
                f"{source} does not fit this network: {name!r} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"expected {want.dtype} {tuple(want.shape)}"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{source} holds numbers that are not finite in {name!r}")
