"""Small topologies in the formats of GROMACS and CHARMM, which OpenMM's own readers turn into systems.

One chain of six atoms in each, with a side branch: every kind of term that the formats have and the engines know. The
numbers are no force field's.
"""

from pathlib import Path

import openmm
from openmm import app

N_ATOMS = 6
"""Atoms 0-1-2-3-4 in a chain, 5 on atom 2."""

GROMACS = """
[ defaults ]
1 {rule} yes 0.5 0.8333

[ atomtypes ]
CA 6 12.011 0.0 A {a}
CB 6 12.011 0.0 A {b}
OC 8 15.999 0.0 A {c}

{nbfix}

[ moleculetype ]
chain 3

[ atoms ]
1 CA 1 MOL C1 1 0.3 12.011
2 CB 1 MOL C2 1 -0.2 12.011
3 CA 1 MOL C3 1 0.1 12.011
4 OC 1 MOL O4 1 -0.5 15.999
5 CB 1 MOL C5 1 0.2 12.011
6 CB 1 MOL C6 1 0.1 12.011

[ bonds ]
1 2 1 0.15 250000
2 3 1 0.15 250000
3 4 1 0.14 300000
4 5 1 0.14 300000
3 6 1 0.15 250000

[ pairs ]
1 4 1
1 6 1
2 5 1
6 5 1

[ angles ]
1 2 3 5 111 450 0.25 3000
2 3 4 5 109 400 0.24 5000
3 4 5 1 112 500
2 3 6 1 110 350

[ dihedrals ]
1 2 3 4 3 9.28 12.16 -13.12 -3.06 26.24 -31.5
2 3 4 5 5 2.4 -1.3 3.1 0.7
1 2 3 6 9 180 3.5 2
1 2 3 6 9 30 1.5 3
3 2 4 6 2 35.26 330
5 4 3 6 2 190 120

[ system ]
chain

[ molecules ]
chain 1
"""
MIXING = {
    1: ("0.002 2e-6", "0.003 3e-6", "0.0021 1.9e-6"),
    2: ("0.35 0.3", "0.34 0.45", "0.30 0.8"),
    3: ("0.35 0.3", "0.34 0.45", "0.30 0.8"),
}
NBFIX = "[ nonbond_params ]\nCB CB 1 0.36 0.9\n"


def gromacs(folder: Path, rule: int, nbfix: bool = False, **arguments: object) -> openmm.System:
    """As GromacsTopFile reads it, under one of GROMACS' three rules of mixing."""
    a, b, c = MIXING[rule]
    path = folder / "chain.top"
    path.write_text(GROMACS.format(rule=rule, a=a, b=b, c=c, nbfix=NBFIX if nbfix else ""))
    return app.GromacsTopFile(str(path)).createSystem(removeCMMotion=False, **arguments)


PSF = """PSF XPLOR

       1 !NTITLE
 REMARKS a chain of six atoms

       6 !NATOM
       1 A        1 MOL  C1   CA     0.300000       12.0110           0
       2 A        1 MOL  C2   CB    -0.200000       12.0110           0
       3 A        1 MOL  C3   CA     0.100000       12.0110           0
       4 A        1 MOL  O4   OC    -0.500000       15.9990           0
       5 A        1 MOL  C5   CB     0.200000       12.0110           0
       6 A        1 MOL  C6   CB     0.100000       12.0110           0

       5 !NBOND: bonds
       1       2       2       3       3       4       4       5
       3       6

       5 !NTHETA: angles
       1       2       3       2       3       4       3       4       5
       2       3       6       4       3       6

       4 !NPHI: dihedrals
       1       2       3       4       2       3       4       5
       1       2       3       6       6       3       4       5

       2 !NIMPHI: impropers
       3       2       4       6       3       4       2       6

       0 !NDON: donors


       0 !NACC: acceptors


       0 !NNB

       0       0       0       0       0       0

       1       0 !NGRP
       0       0       0

"""
CHARMM = """* a chain of six atoms
*

ATOMS
MASS -1 CA 12.011
MASS -1 CB 12.011
MASS -1 OC 15.999

BONDS
CA CB 222.5 1.53
CA OC 340.0 1.43
CB OC 340.0 1.43

ANGLES
CA CB CA 58.35 113.6 11.16 2.56
CB CA OC 75.7 110.1
CA OC CB 50.0 112.0 15.0 2.3
CB CA CB 58.0 114.0
OC CA CB 75.7 110.1

DIHEDRALS
CA CB CA OC 0.2 1 180.0
CA CB CA OC 1.1 3 0.0
CB CA OC CB 0.9 2 30.0
CA CB CA CB 0.4 3 0.0

IMPROPER
CA CB OC CB 45.0 0 35.0
CA OC CB CB 30.0 0 180.0

NONBONDED
CA 0.0 -0.11 2.0
CB 0.0 -0.07 1.95 0.0 -0.01 1.9
OC 0.0 -0.12 1.7

NBFIX
CA CB -0.3 3.8
OC CB -0.2 3.5 -0.1 3.3

END
"""


def charmm(folder: Path, nbfix: bool = True, **arguments: object) -> openmm.System:
    """As CharmmPsfFile reads it."""
    psf, prm = folder / "chain.psf", folder / "chain.prm"
    psf.write_text(PSF)
    prm.write_text(CHARMM if nbfix else CHARMM[: CHARMM.index("NBFIX")] + "END\n")
    return app.CharmmPsfFile(str(psf)).createSystem(app.CharmmParameterSet(str(prm)), **arguments)


def amber_with_nbfix(topology: Path, folder: Path, **arguments: object) -> openmm.System:
    """As AmberPrmtopFile reads a topology of AMBER in which one Lennard-Jones pair was changed."""
    lines = topology.read_text().splitlines(keepends=True)
    start = lines.index(next(line for line in lines if line.startswith("%FLAG LENNARD_JONES_ACOEF"))) + 2
    first = lines[start]
    lines[start] = first[:16] + f"{1.7 * float(first[16:32]):16.8E}" + first[32:]
    path = folder / "nbfix.prmtop"
    path.write_text("".join(lines))
    return app.AmberPrmtopFile(str(path)).createSystem(removeCMMotion=False, **arguments)
