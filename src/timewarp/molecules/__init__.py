"""Peptides from sequences and PDB files to OpenMM systems under named force-field presets."""

from .doors.kinds import FORCE_FIELD_KINDS, Files, Kind, kind_of
from .doors.run_folder import SYSTEM_FILE
from .molecule import Molecule, build_molecule
from .presets import PRESETS, Preset, get_preset
from .sequence_lists import read_sequences
from .sequences import folder_name, is_sequence_of

__all__ = [
    "FORCE_FIELD_KINDS",
    "PRESETS",
    "SYSTEM_FILE",
    "Files",
    "Kind",
    "Molecule",
    "Preset",
    "build_molecule",
    "folder_name",
    "get_preset",
    "is_sequence_of",
    "kind_of",
    "read_sequences",
]
