import math

import pytest
import torch
from torch import Tensor

from dropout_core.nn.functional import dropout
from dropout_core.nn.masks import keep_probability
from dropout_core.theory.marginalised_dropout import (
    ensemble_gradient,
    expected_dropout_gradient,
    marginalised_dropout_regression,
)
from tests.support.statistics import every_mask, tolerance
from tests.support.tensors import normal, seeded


@pytest.fixture(scope="module")
def problem() -> tuple[Tensor, Tensor]:
    return normal(5, 3, seed=1), normal(5, seed=2)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_closed_form_minimises_the_loss_enumerated_over_all_masks(
    problem: tuple[Tensor, Tensor], p: float
) -> None:
    features, targets = problem
    masks, likelihood = every_mask(features.numel(), 1 - p)
    dropped = masks.view(-1, *features.shape) * features / (1 - p)
    gram = torch.einsum("m,mnf,mng->fg", likelihood, dropped, dropped)
    moment = torch.einsum("m,mnf,n->f", likelihood, dropped, targets)
    weights = marginalised_dropout_regression(features, targets, p)
    torch.testing.assert_close(weights, torch.linalg.solve(gram, moment))

    def expected_loss(w: Tensor) -> Tensor:
        return (likelihood[:, None] * (targets - dropped @ w).square()).sum()

    slope = torch.autograd.functional.jacobian(expected_loss, weights)
    torch.testing.assert_close(slope, torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    for direction in normal(10, 3, seed=3):
        assert expected_loss(weights + 0.1 * direction) > expected_loss(weights)


def test_the_expected_loss_is_a_ridge_that_knows_the_size_of_each_feature(
    problem: tuple[Tensor, Tensor],
) -> None:
    (features, targets), p, weights = problem, 0.3, normal(3, seed=3)
    masks, likelihood = every_mask(features.numel(), 1 - p)
    outputs = masks.view(-1, *features.shape) * features / (1 - p) @ weights
    expected = (likelihood[:, None] * (targets - outputs).square()).sum()
    penalty = p / (1 - p) * (features.square().sum(dim=0) * weights.square()).sum()
    residual = (targets - features @ weights).square().sum()
    torch.testing.assert_close(expected, residual + penalty)


def test_of_features_of_one_size_it_is_plain_ridge_regression(
    problem: tuple[Tensor, Tensor],
) -> None:
    (features, targets), p = problem, 0.3
    features = features / features.norm(dim=0) * 2.0
    ridge = features.T @ features + p / (1 - p) * 4.0 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(
        marginalised_dropout_regression(features, targets, p),
        torch.linalg.solve(ridge, features.T @ targets),
    )


def test_without_dropout_it_is_least_squares(problem: tuple[Tensor, Tensor]) -> None:
    features, targets = problem
    expected = torch.linalg.lstsq(features, targets[:, None]).solution[:, 0]
    torch.testing.assert_close(marginalised_dropout_regression(features, targets, 0.0), expected)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.1, math.nan])
def test_a_probability_that_leaves_nothing_is_refused(
    problem: tuple[Tensor, Tensor], p: float
) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1, but got"):
        marginalised_dropout_regression(*problem, p)


WEIGHTS, INPUTS, TARGET = normal(6, seed=1), normal(6, seed=2), torch.tensor(0.7).double()


def test_the_gradient_of_the_ensemble_is_that_of_its_error() -> None:
    weights, keep = WEIGHTS.clone().requires_grad_(), torch.linspace(0, 1, 6).double()
    error = (TARGET - (keep * weights * INPUTS).sum()).square() / 2
    (expected,) = torch.autograd.grad(error, weights)
    torch.testing.assert_close(ensemble_gradient(WEIGHTS, INPUTS, TARGET, keep), expected)


def test_the_expected_gradient_is_that_of_the_enumeration_of_all_masks() -> None:
    weights, keep = WEIGHTS.clone().requires_grad_(), torch.linspace(0, 1, 6).double()
    masks, likelihood = every_mask(6, keep)
    errors = (TARGET - (masks * INPUTS) @ weights).square() / 2
    (expected,) = torch.autograd.grad((likelihood * errors).sum(), weights)
    result = expected_dropout_gradient(WEIGHTS, INPUTS, TARGET, keep)
    torch.testing.assert_close(result, expected)
    assert not torch.allclose(result, ensemble_gradient(WEIGHTS, INPUTS, TARGET, keep))


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_the_expected_gradient_is_the_mean_of_those_under_dropout(p: float) -> None:
    num_draws, keep = 1 << 18, keep_probability(p)
    masks, likelihood = every_mask(6, keep)
    dropped = dropout(INPUTS.expand(num_draws, 6), p, generator=seeded(), scale=1.0)

    def gradients(inputs: Tensor) -> Tensor:
        return -(TARGET - inputs @ WEIGHTS)[:, None] * inputs

    result = gradients(dropped).mean(dim=0)
    expected = expected_dropout_gradient(
        WEIGHTS, INPUTS, TARGET, torch.full((6,), keep, dtype=torch.float64)
    )
    variance = likelihood @ (gradients(masks * INPUTS) - expected).square()
    for index in range(6):
        distance = abs(result[index] - expected[index])
        assert distance < tolerance(variance[index].item(), num_draws)
