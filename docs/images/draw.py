"""Draw the README's picture from a run of ``make demo``: Ramachandran plots, and free energies along phi and psi.

python docs/images/draw.py demo-run examples/ala2-md docs/images/ala2.png
"""

import sys
from pathlib import Path

from timewarp.report import make_figures
from timewarp.report.theme import to_file
from timewarp.trajectories import RunFolder

run, reference = (RunFolder.open(path).trajectory() for path in sys.argv[1:3])
plots = {plot.name: plot for plot in make_figures(run, reference)[0]}
panels = [*plots["ramachandran"].panels[:2], *plots["free_energy"].panels[:2]]
to_file([panel.draw for panel in panels], 2, (3.9, 3.0), Path(sys.argv[3]))
