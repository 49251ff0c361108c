"""The force-field presets: one name stands for force field, solvent, cutoff and temperature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A named target distribution: everything that the potential and the temperature depend on.

    Attributes:
        name: what the user types.
        description: one line for ``--help`` and model cards.
        temperature_K: default temperature of the preset in K.
        force_field: OpenMM force-field files, in order.
        solvent: ``obc1``, ``obc2`` (Onufriev, Bashford & Case 2004, models I and II) or ``vacuum``.
        cutoff_nm: non-periodic cutoff of all non-bonded forces in nm, or None for none.

    Raises:
        ValueError: a value makes no sense.
    """

    name: str
    description: str
    temperature_K: float
    force_field: tuple[str, ...]
    solvent: str
    cutoff_nm: float | None = None

    def __post_init__(self) -> None:
        if self.solvent not in ("obc1", "obc2", "vacuum"):
            raise ValueError(f"solvent must be 'obc1', 'obc2' or 'vacuum', got {self.solvent!r}")
        if not 0 < self.temperature_K < float("inf"):
            raise ValueError(f"temperature must be a positive number of kelvin, got {self.temperature_K!r}; try 310")
        if self.cutoff_nm is not None and not 0 < self.cutoff_nm < float("inf"):
            raise ValueError(f"cutoff must be a positive number of nm, or None for no cutoff, got {self.cutoff_nm!r}")


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="amber14-obc2",
            description="Amber ff14SB, implicit water OBC2, no cutoff, 310 K (the default)",
            temperature_K=310.0,
            force_field=("amber14-all.xml", "implicit/obc2.xml"),
            solvent="obc2",
        ),
        Preset(
            name="amber14-obc1",
            description="Amber ff14SB, implicit water OBC1, 2 nm cutoff, 310 K (Timewarp, Klein et al. 2023)",
            temperature_K=310.0,
            force_field=("amber14-all.xml", "implicit/obc1.xml"),
            solvent="obc1",
            cutoff_nm=2.0,
        ),
        Preset(
            name="amber99sbildn-obc",
            description="Amber ff99SB-ILDN, implicit water OBC2, no cutoff, 300 K (Boltzmann-generator literature)",
            temperature_K=300.0,
            force_field=("amber99sbildn.xml", "amber99_obc.xml"),
            solvent="obc2",
        ),
        Preset(
            name="amber14-vacuum",
            description="Amber ff14SB in vacuum, no cutoff, 310 K",
            temperature_K=310.0,
            force_field=("amber14-all.xml",),
            solvent="vacuum",
        ),
    )
}


def get_preset(name: str | Preset) -> Preset:
    """Look a preset up by name; a :class:`Preset` passes through.

    Raises:
        ValueError: no preset has this name; the message lists the good ones.

    >>> get_preset("amber14-obc2").temperature_K
    310.0
    """
    if isinstance(name, Preset):
        return name
    if name not in PRESETS:
        raise ValueError(f"no force-field preset is called {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
