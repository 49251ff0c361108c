"""The doors through which a molecule comes in with its own force field: AMBER, GROMACS, CHARMM and OpenMM files.

One function, :func:`~timewarp.molecules.doors.kinds.kind_of`, decides by a file's name and content what is meant;
OpenMM's own readers read it, and
:func:`~timewarp.molecules.doors.reading.read_molecule` checks and mends what comes out, the same for all.
"""
