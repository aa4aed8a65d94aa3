import math

import pytest
import torch

from dropout_core.theory.analysis import co_adaptation, feature_grid, sparsity
from tests.support.statistics import tolerance
from tests.support.tensors import normal


def test_sparsity_is_the_share_that_is_not_above_the_threshold() -> None:
    activations = torch.tensor([[0.0, 1.0, -1.0, 0.5], [2.0, 0.0, 3.0, 0.5]])
    assert sparsity(activations) == 3 / 8
    assert sparsity(activations, threshold=0.5) == 5 / 8
    assert sparsity(activations, threshold=-2.0) == 0.0
    assert sparsity(activations, threshold=3.0) == 1.0


def test_co_adaptation_is_the_mean_of_absolute_correlations() -> None:
    # The first two units are opposites, the third is uncorrelated with both: 1, 0 and 0.
    activations = torch.tensor([[1.0, -2.0, 1.0], [1.0, -2.0, 0.0], [3.0, -6.0, 1.0], [3, -6, 0]])
    assert co_adaptation(activations) == pytest.approx(1 / 3)
    assert co_adaptation(activations[:, :2]) == pytest.approx(1.0)
    assert co_adaptation(activations[:, 1:]) == pytest.approx(0.0, abs=1e-12)


def test_co_adaptation_of_two_units_is_their_correlation_by_hand() -> None:
    # Deviations (-1, 0, 1) and (-1, 1, 0): covariance 1, variances 2 and 2.
    assert co_adaptation(torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]])) == pytest.approx(0.5)


def test_co_adaptation_knows_no_scale_and_no_offset() -> None:
    activations = normal(50, 4)
    moved = activations * torch.tensor([1.0, -2.0, 1e-6, 1e6]) + torch.tensor([0.0, 5.0, 0.0, 1.0])
    assert co_adaptation(moved) == pytest.approx(co_adaptation(activations))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, -7e5])
def test_units_that_never_change_are_left_out(constant: float) -> None:
    alive = normal(1001, 3, dtype=torch.float32)
    dead = torch.full((1001, 2), constant)
    assert co_adaptation(torch.cat([alive, dead], dim=1)) == co_adaptation(alive)


@pytest.mark.parametrize("num_alive", [0, 1])
def test_fewer_than_two_units_that_change_are_not_adapted_to_each_other(num_alive: int) -> None:
    assert co_adaptation(torch.cat([normal(9, num_alive), torch.ones(9, 3)], dim=1)) == 0.0
    assert co_adaptation(normal(1, 5)) == 0.0


def test_a_grid_holds_each_feature_scaled_to_its_own_range_with_a_pixel_between() -> None:
    weight = torch.tensor([[0.0, 1.0, 2.0, 4.0], [-1.0, 0.0, 0.0, 1.0], [50.0, 30.0, 40.0, 30.0]])
    grid = feature_grid(weight, height=2, width=2, num_columns=2)
    assert grid.dtype == torch.uint8
    assert grid.tolist() == [
        [0, 64, 0, 0, 128],
        [128, 255, 0, 128, 255],
        [0, 0, 0, 0, 0],
        [255, 0, 0, 0, 0],
        [128, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("num_units", "num_columns", "shape"),
    [(1, 1, (3, 5)), (16, 16, (3, 95)), (17, 16, (7, 95)), (5, 2, (11, 11)), (1, 4, (3, 23))],
)
def test_a_grid_has_room_for_every_feature(
    num_units: int, num_columns: int, shape: tuple[int, int]
) -> None:
    weight = torch.linspace(-1, 1, 15).expand(num_units, 15)
    grid = feature_grid(weight, height=3, width=5, num_columns=num_columns)
    assert grid.shape == shape
    assert int((grid == 255).sum()) == num_units


def test_a_feature_without_a_range_is_black() -> None:
    assert (feature_grid(torch.full((1, 4), 3.0), height=2, width=2) == 0).all()


def test_weights_that_are_trained_may_be_shown() -> None:
    weight = normal(3, 4).requires_grad_()
    assert torch.equal(
        feature_grid(weight, height=2, width=2), feature_grid(weight.detach(), height=2, width=2)
    )


def test_weights_that_are_no_such_image_are_refused() -> None:
    with pytest.raises(ValueError, match="7 weights a unit do not make an image of 2 x 3"):
        feature_grid(normal(4, 7), height=2, width=3)


def test_correlations_of_independent_units_are_those_of_chance() -> None:
    # Of n independent normal rows, sqrt(n) times a correlation is as good as standard normal: its
    # absolute value has mean sqrt(2 / pi). Pairs are uncorrelated.
    num_rows, num_units = 10_000, 20
    pairs = num_units * (num_units - 1) // 2
    scaled = co_adaptation(normal(num_rows, num_units)) * math.sqrt(num_rows)
    assert abs(scaled - math.sqrt(2 / math.pi)) < tolerance(1 - 2 / math.pi, pairs)
