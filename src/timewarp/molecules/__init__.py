"""Peptides from sequences and PDB files to OpenMM systems under named force-field presets."""

from .molecule import Molecule, build_molecule
from .presets import PRESETS, Preset, get_preset
from .sequence_lists import read_sequences
from .sequences import folder_name, is_sequence_of

__all__ = [
    "PRESETS",
    "Molecule",
    "Preset",
    "build_molecule",
    "folder_name",
    "get_preset",
    "is_sequence_of",
    "read_sequences",
]
