"""Kinds of network: what each offers, and which class a kind that is named in a file is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from .. import native
from ..energies import Parameters
from ..settings import checked
from ..state import Atoms
from .proposer import Proposer


class Network(nn.Module):
    """A trainable proposal for a molecule: weights, and the proposers that are made of them.

    A subclass sets the class attributes, takes (``atoms``, ``config``), implements :meth:`proposers`, and is named to
    :func:`register`. Densities (``encode``, ``sample``, ``log_prob``) are a matter between a network and its training.

    Attributes:
        kind: its name in files: ``family`` of a model's description and of training settings.
        config_type: dataclass of its size, whose fields all have defaults.
        transferable: whether its weights serve any molecule of known elements, not only the one they were trained on.
        preference: of the networks that serve a molecule the one of lowest preference is the default.
        trained_on: what it learns from, a key of :data:`timewarp.training.TASKS`: ``frames`` of one molecule,
            time-lagged ``pairs`` of frames, or many ``peptides``.
        has_compiled_form: whether the compiled kernels know this kind.
        atoms: the molecule.
        config: of type ``config_type``.
    """

    kind: ClassVar[str]
    config_type: ClassVar[type]
    transferable: ClassVar[bool] = False
    preference: ClassVar[int] = 100
    trained_on: ClassVar[str] = "frames"
    has_compiled_form: ClassVar[bool] = False

    atoms: Atoms
    config: Any

    def proposers(
        self, parameters: Parameters | None, kT: float, *, engine: str | None = None, threads: int = 1
    ) -> dict[str, Proposer]:
        """What proposes with these weights, by the name of the kernel; ``flow`` is always there.

        Args:
            parameters: of the molecule's energy; None where it is not known, which a network may refuse.
            kT: thermal energy in kJ/mol.
            engine: see :func:`choose_engine`. The compiled kernels take the weights as they are now.
            threads: that share the torch computation, where torch itself has one.

        Raises:
            ValueError: the engine cannot compute this network, or it needs the parameters.
        """
        raise NotImplementedError

    def begin_with(self, other: Network) -> None:
        """Take over the weights of another network, from which a training starts.

        Raises:
            ValueError: it is of another kind or size.
        """
        try:
            self.load_state_dict(other.state_dict())
        except RuntimeError:
            raise ValueError(
                f"the training starts from weights of another kind or size ({other.kind}, {other.config}); give the "
                f"same settings as theirs, got {self.config}"
            ) from None


KINDS: dict[str, type[Network]] = {}
"""Networks by their kind."""

Registered = TypeVar("Registered", bound=type[Network])


def register(network: Registered) -> Registered:
    """Make a class of networks known by its ``kind``, for training, model files and run folders; a decorator.

    Raises:
        ValueError: another class has this kind.
    """
    known = KINDS.setdefault(network.kind, network)
    if (known.__module__, known.__qualname__) != (network.__module__, network.__qualname__):
        raise ValueError(f"the kind {network.kind!r} is {known.__qualname__}'s; give {network.__qualname__} another")
    KINDS[network.kind] = network
    return network


def network_class(kind: str) -> type[Network]:
    """The class of a kind of network.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown family of proposals {kind!r}; the families are {', '.join(sorted(KINDS))}")
    return KINDS[kind]


def build_network(atoms: Atoms, kind: str, config: Mapping[str, Any] | None = None) -> Any:
    """A new, untrained network for a molecule.

    Raises:
        ValueError: an unknown kind, an unknown or impossible config field, or a molecule that it cannot serve.
    """
    network = network_class(kind)
    given = dict(config or {})
    defaults = {f.name: f.default for f in fields(network.config_type)}
    if unknown := sorted(set(given) - set(defaults)):
        raise ValueError(f"family {kind} has no setting {unknown[0]!r}; its settings are {', '.join(sorted(defaults))}")
    return network(atoms, network.config_type(**checked(network.config_type, given)))  # type: ignore[call-arg]


ENGINES = ("auto", "native", "torch")


def choose_engine(network: Network, engine: str | None = None) -> str:
    """What computes a network's proposals: ``"native"`` (the compiled kernels) or ``"torch"``.

    Args:
        network: whose weights say where and in what precision it computes.
        engine: ``"native"``, which computes in single precision on the CPU; ``"torch"``; or ``"auto"`` (None): the
            first where it is possible, or the second.

    Raises:
        ValueError: no such engine, or the compiled kernels do not know this network.
        RuntimeError: the compiled kernels are asked for, and are not there.
    """
    engine = engine or "auto"
    if engine not in ENGINES:
        raise ValueError(f"no flow engine {engine!r}; there are {', '.join(ENGINES)}")
    weight = next(network.parameters())
    known = network.has_compiled_form and weight.dtype == torch.float32 and weight.device.type == "cpu"
    if engine == "native":
        if not known:
            known_kinds = ", ".join(sorted(k for k, cls in KINDS.items() if cls.has_compiled_form))
            raise ValueError(
                f"the native flow engine computes families {known_kinds} in float32 on the cpu, got "
                f"{type(network).__name__} in {weight.dtype} on {weight.device}; leave the engine to 'auto'"
            )
        native.core()
    return "native" if engine != "torch" and known and native.available() else "torch"
