"""Trained networks on disk: ``<name>.safetensors`` for the weights, ``<name>.toml`` for what they are weights of."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ..files import read_toml, sha256, write_atomically, write_toml
from ..schemas import ModelFile, check
from ..state import Atoms
from .registry import Network, build_network, network_class

SCHEMA = 1


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file says of itself, without reading the weights.

    Attributes:
        toml: the description's path; the weights lie beside it.
        name: name of the model.
        family: kind of network, a key of :data:`timewarp.flows.registry.KINDS`.
        residues: residue names of the molecule that it was trained for, such as ``ACE-ALA-NME``; or how many.
        fingerprint: :attr:`timewarp.state.Atoms.fingerprint` of that molecule, or of the first of them.
        config: fields of the network's config.
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


def save_network(
    folder: Path | str, name: str, network: Network, training: Mapping[str, Any], residues: str = ""
) -> WeightsFile:
    """Write ``<name>.safetensors`` and ``<name>.toml`` (last, so that a description never lacks its weights).

    Args:
        folder: an existing folder.
        name: name of the model.
        network: the trained network.
        training: how it was trained: plain data for the description.
        residues: what it was trained for, where that is more than its molecule.
    """
    toml = Path(folder) / f"{name}.toml"
    weights = toml.with_suffix(".safetensors")
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    write_atomically(weights, save(tensors))
    write_toml(
        toml,
        {
            "schema": SCHEMA,
            "name": name,
            "family": network.kind,
            "residues": residues or network.atoms.residues,
            "fingerprint": network.atoms.fingerprint,
            "weights_sha256": sha256(weights),
            "config": asdict(network.config),
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
    check(ModelFile, data, toml)
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


def load_network(described: WeightsFile, atoms: Atoms) -> Network:
    """Rebuild a trained network for a molecule; a transferable one for any molecule of known elements.

    Raises:
        ValueError: the weights are of another molecule, or the file is damaged or does not fit its description.
    """
    if not network_class(described.family).transferable and described.fingerprint != atoms.fingerprint:
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
    network = build_network(atoms, described.family, described.config)
    expected = network.state_dict()
    try:
        tensors = load(payload)
    except SafetensorError as error:
        raise ValueError(f"{described.safetensors} is not a safetensors file: {error}") from None
    check_tensors(tensors, expected, str(described.safetensors))
    network.load_state_dict(tensors)
    return network.eval()


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
