"""The Cartesian flow once more, written for reading: one state at a time, head by head. The oracle of the fast one."""

import math

import torch
import torch.nn.functional as F

from timewarp.flows.cartesian import CartesianFlow
from timewarp.state import Atoms


def plain_log_prob(flow: CartesianFlow, atoms: Atoms, x, v, x_new, v_new):
    """log q(x', v' | x, v) of one candidate of one molecule; laboratory frame, element features, separate V and P."""
    c, w = flow.config, flow.state_dict()
    unit = c.length_unit_nm
    centred = x - x.mean(0)
    element = torch.tensor(["HCNOS".index(e) for e in atoms.elements])
    known = [centred / unit, w["element.weight"][element]] + ([v] if c.use_auxiliary else [])
    displacement, auxiliary = (x_new - x) / unit, v_new
    log_det = -3 * atoms.n_atoms * math.log(unit)
    for k in reversed(range(c.n_couplings)):
        other = auxiliary if k % 2 else displacement
        s, t = (_network(w, f"couplings.{k}.{name}", c, centred, known, other) for name in ("scale", "shift"))
        if k % 2:
            displacement = (displacement - t) / s.exp()
        else:
            auxiliary = (auxiliary - t) / s.exp()
        log_det = log_det - s.sum()
    for z, log_scale in ((displacement, w["log_scale_position"]), (auxiliary, w["log_scale_auxiliary"])):
        log_det = log_det + torch.distributions.Normal(torch.zeros_like(z), log_scale.exp()).log_prob(z).sum()
    return log_det


def _network(w, name, c, centred, known, other):
    tokens = torch.cat([other, *known], -1)
    tokens = _linear(w, f"{name}.enter", F.silu(_linear(w, f"{name}.embed", tokens)))
    for layer in range(c.n_layers):
        here, heads = f"{name}.layers.{layer}", []
        values = tokens @ w[f"{here}.attention.values.weight"].T
        for h, length in enumerate(c.length_scales_nm):
            kernel = torch.exp(-(torch.cdist(centred, centred) ** 2) / length**2)
            heads.append(kernel / kernel.sum(1, keepdim=True) @ values[:, h * c.width : (h + 1) * c.width])
        tokens = tokens + torch.cat(heads, -1) @ w[f"{here}.attention.project.weight"].T
        tokens = _norm(w, f"{here}.norm_attention", tokens)
        tokens = tokens + _linear(w, f"{here}.narrow", F.relu(_linear(w, f"{here}.widen", tokens)))
        tokens = _norm(w, f"{here}.norm_feed", tokens)
    return _linear(w, f"{name}.read_out", F.silu(_linear(w, f"{name}.leave", tokens)))


def _linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])
