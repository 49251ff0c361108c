"""Keep every n-th frame of a run of ``timewarp simulate`` as a small run folder (``ala2-md`` was made so).

python examples/thin_run.py ala2-reference examples/ala2-md 4
"""

import shutil
import sys
from pathlib import Path

from timewarp.trajectories import RunFolder

source, destination, stride = RunFolder.open(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
kept = source.trajectory(stride=stride)
spacing = source.config["frame_spacing_ps"]
thinned = RunFolder.create(
    destination,
    kind=source.kind,
    name=source.name,
    atoms=source.atoms,
    topology_pdb=source.topology_pdb,
    config={**source.config, "frame_spacing_ps": stride * spacing, "thinned_from_ps": spacing},
)
for chain in range(kept.n_chains):
    frames, energies = kept.positions[chain][:, None].contiguous(), kept.energies[chain][:, None].contiguous()
    thinned.append(chain, frames, energies, kept.steps, {})
thinned.write_summary({**(source.summary() or {}), "frames": kept.n_chains * kept.n_frames})
shutil.copy(source.path / "energy.safetensors", destination)
