"""Run by test_cartesian_training: gradients of one batch, by as many processes as asked for. RUNS... DEVICES OUT"""

import sys
from pathlib import Path

import torch
from lagged_runs import MOLECULES, TINY, elastic
from safetensors.torch import save_file

from timewarp.training import TrainingSettings, load_pairs
from timewarp.training.cartesian import PairTask
from timewarp.training.parallel import make_fabric

WEIGHTS = (1.0, 0.5, 0.3)


def gradients(runs: list[str], devices: int, out: Path, precision: str = "32-true") -> None:
    torch.set_num_threads(1)
    settings = TrainingSettings(family="A", flow=TINY, lag_ps=6.0, batch_size=12)
    task = PairTask(load_pairs(runs, 6.0), settings, lambda device: elastic)
    assert task.data.molecules == MOLECULES
    fabric = make_fabric("cpu", devices, precision)
    torch.manual_seed(0)
    flow = task.flow()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    optimiser = torch.optim.AdamW(flow.parameters())
    model, _ = fabric.setup(task.objective(flow), optimiser)
    task.to(fabric.device)
    loss, metrics = model(*task.batch(0, (fabric.global_rank, fabric.world_size), flow, WEIGHTS))
    fabric.backward(loss)
    mean = fabric.all_reduce(loss.detach(), reduce_op="mean")
    if fabric.is_global_zero:
        found = {name: p.grad for name, p in flow.named_parameters()}
        save_file({**found, "loss": mean.float().reshape(1), "nonfinite": metrics["nonfinite"].reshape(1)}, out)


if __name__ == "__main__":
    *runs, devices, out = sys.argv[1:]
    gradients(runs, int(devices), Path(out))
