import numpy as np
import pytest
from matplotlib.image import imread

from timewarp.report import training_curves


def rows(acceptance):
    return [
        {
            "step": 10 * k,
            "training_loss": 5 + 1 / k,
            "validation_loss": 5.1 + 1 / k,
            "validation_acceptance": acceptance,
        }
        for k in range(1, 9)
    ]


def test_curves_are_drawn_and_change_with_the_data(tmp_path):
    both = imread(training_curves(rows(0.5), tmp_path / "both.png"))
    one = imread(training_curves(rows(None), tmp_path / "one.png"))
    assert both.shape[1] > 1.5 * one.shape[1]
    blue = np.abs(both[..., :3] - np.array([0x1D, 0x5F, 0xA6]) / 255).sum(-1) < 0.05
    half = both.shape[1] // 2
    assert blue[:, :half].sum() > 100
    assert blue[:, half:].sum() > 100


def test_no_rows(tmp_path):
    with pytest.raises(ValueError, match="no validation to draw"):
        training_curves([], tmp_path / "x.png")
