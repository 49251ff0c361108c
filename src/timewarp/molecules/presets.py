"""The force-field presets: one name stands for force field, solvent, cutoff and temperature."""

from __future__ import annotations

from dataclasses import dataclass, replace

GB_FILES = {name: f"implicit/{name}.xml" for name in ("hct", "obc1", "obc2", "gbn", "gbn2")}
"""OpenMM's files of each generalised Born model, for any force field that names its residues as AMBER does."""
_SOLVENT_FILES = (*GB_FILES.values(), "amber99_obc.xml", "amber96_obc.xml")


@dataclass(frozen=True)
class Preset:
    """A named target distribution: everything that the potential and the temperature depend on.

    Attributes:
        name: what the user types.
        description: one line for ``--help`` and model cards.
        temperature_K: default temperature of the preset in K.
        force_field: OpenMM force-field files, in order.
        solvent: ``vacuum``, a generalised Born model (``hct``, ``obc1``, ``obc2``, ``gbn``, ``gbn2``), or ``own`` for a
            system that says its own.
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
        if self.solvent not in (*GB_FILES, "vacuum", "own"):
            raise ValueError(f"solvent must be one of {', '.join(GB_FILES)}, vacuum or own, got {self.solvent!r}")
        if not 0 < self.temperature_K < float("inf"):
            raise ValueError(f"temperature must be a positive number of kelvin, got {self.temperature_K!r}; try 310")
        if self.cutoff_nm is not None and not 0 < self.cutoff_nm < float("inf"):
            raise ValueError(f"cutoff must be a positive number of nm, or None for no cutoff, got {self.cutoff_nm!r}")

    def in_solvent(self, solvent: str | None) -> Preset:
        """The same force field in another implicit solvent; None, or the preset's own: the preset itself.

        Args:
            solvent: ``none``, ``hct``, ``obc1``, ``obc2``, ``gbn`` or ``gbn2``.

        Raises:
            ValueError: there is no such solvent.

        >>> PRESETS["amber14-obc2"].in_solvent("none").name
        'amber14-vacuum'
        """
        wanted = "vacuum" if solvent == "none" else solvent
        if wanted in (None, self.solvent):
            return self
        if wanted not in (*GB_FILES, "vacuum"):
            raise ValueError(f"no solvent is called {solvent!r}; choose one of none, {', '.join(GB_FILES)}")
        bare = tuple(file for file in self.force_field if file not in _SOLVENT_FILES)
        files = bare if wanted == "vacuum" else (*bare, GB_FILES[wanted])
        stem = self.name.rpartition("-")[0] or self.name
        return replace(
            self,
            name=f"{stem}-{wanted}",
            description=f"{self.description.split(',')[0]}, solvent {solvent}",
            force_field=files,
            solvent=wanted,
            cutoff_nm=None,
        )


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
        Preset(
            name="ff14SBonlysc-gbn2",
            description="Amber ff14SBonlysc (ff99SB's backbone), implicit water GBn2, no cutoff, 310 K",
            temperature_K=310.0,
            force_field=("timewarp:ff14SBonlysc.xml", "amber14/protein.ff14SB.xml", "implicit/gbn2.xml"),
            solvent="gbn2",
        ),
        Preset(
            name="ff19SB-gbn2",
            description="Amber ff19SB, implicit water GBn2, no cutoff, 310 K",
            temperature_K=310.0,
            force_field=("amber19/protein.ff19SB.xml", "implicit/gbn2.xml"),
            solvent="gbn2",
        ),
        Preset(
            name="charmm36-gbn2",
            description="CHARMM36, implicit water GBn2, no cutoff, 310 K",
            temperature_K=310.0,
            force_field=("charmm36.xml", "implicit/gbn2.xml"),
            solvent="gbn2",
        ),
        Preset(
            name="amber96-obc",
            description="Amber ff96, implicit water OBC2, no cutoff, 310 K",
            temperature_K=310.0,
            force_field=("amber96.xml", "amber96_obc.xml"),
            solvent="obc2",
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
