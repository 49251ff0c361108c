"""The elementary functions of the kernels against torch in double precision, on every instruction set there is."""

import math

import pytest
import torch

from timewarp import native

if not native.available():
    pytest.skip(native.why_not(), allow_module_level=True)

NAMES = ("sqrt", "rsqrt", "rcp", "exp", "log", "atan2", "sin_turns", "cos_turns", "tanh")
RELATIVE = {torch.float32: 3e-7, torch.float64: 2e-15}


def apply(name, x, y=None):
    out = torch.empty_like(x)
    native.core().elementary(NAMES.index(name), x, x if y is None else y, out)
    return out


def arguments(name, dtype):
    generator = torch.Generator().manual_seed(1)
    u = torch.rand(20_001, generator=generator, dtype=torch.float64)
    if name == "exp":
        return (174 * u - 87).to(dtype)
    if name in ("sin_turns", "cos_turns", "tanh"):
        return (20 * u - 10).to(dtype)
    return torch.exp(40 * u - 20).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "atan2"])
def test_one_argument(instruction_set, name, dtype):
    x = arguments(name, dtype)
    exact = {
        "sqrt": torch.sqrt,
        "rsqrt": torch.rsqrt,
        "rcp": torch.reciprocal,
        "exp": torch.exp,
        "log": torch.log,
        "sin_turns": lambda t: torch.sin(2 * math.pi * torch.frac(t)),
        "cos_turns": lambda t: torch.cos(2 * math.pi * torch.frac(t)),
        "tanh": torch.tanh,
    }[name](x.double())
    error = (apply(name, x).double() - exact).abs()
    # sines, logarithms near their zeros and tanh are accurate in absolute terms
    scale = exact.abs().clamp_min(1.0) if name in ("sin_turns", "cos_turns", "tanh", "log") else exact.abs()
    assert float((error / scale).max()) < RELATIVE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_atan2_in_all_directions(instruction_set, dtype):
    turns = torch.arange(0, 4001, dtype=torch.float64) / 4000 - 0.5
    radius = torch.exp(torch.linspace(-5, 5, 4001, dtype=torch.float64))
    y, x = (radius * torch.sin(2 * math.pi * turns)).to(dtype), (radius * torch.cos(2 * math.pi * turns)).to(dtype)
    error = apply("atan2", y, x).double() - torch.atan2(y.double(), x.double())
    assert float(error.abs().max()) < RELATIVE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["sqrt", "rsqrt", "rcp", "exp", "log", "tanh"])
def test_not_a_number_stays_none(instruction_set, name, dtype):
    x = torch.tensor([1.0, math.nan, 2.0], dtype=dtype)
    assert torch.isnan(apply(name, x)).tolist() == [False, True, False]


def test_an_instruction_set_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no instruction set 'neon9'"):
        native.core().choose_instruction_set("neon9")


def test_arrays_of_different_length_are_refused():
    with pytest.raises(ValueError, match="arrays of one length"):
        native.core().elementary(0, torch.zeros(3), torch.zeros(3), torch.zeros(4))
