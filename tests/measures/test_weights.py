"""How large weights are: over all tensors together, whatever their shapes."""

import pytest
import torch

from pipeline.measures.weights import NEAR_ZERO, magnitude, near_zero


def test_the_magnitude_is_the_root_mean_square_of_all_weights_together():
    assert magnitude([torch.tensor([3.0, -4.0])]) == pytest.approx(12.5**0.5)
    assert magnitude([torch.full((1, 3), -2.0), torch.zeros(5, 1, 1)]) == pytest.approx((12 / 8) ** 0.5)


def test_weights_near_zero_are_counted_on_either_side_of_it():
    small = 0.9 * NEAR_ZERO
    assert near_zero([torch.tensor([small, -small, 0.0]), torch.tensor([[1.1 * NEAR_ZERO]])]) == 0.75
    assert near_zero([torch.ones(4)]) == 0
