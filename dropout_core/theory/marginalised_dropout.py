"""Dropout of linear regression with its randomness integrated out.

Dropping the inputs of a linear unit is, in expectation, a ridge penalty that is weighted by the
size of each feature, so the unit can be fitted without drawing masks.

Shapes: N rows, F features.
"""

import torch
from torch import Tensor

from dropout_core.nn.masks import check_probability


def marginalised_dropout_regression(features: Tensor, targets: Tensor, p: float) -> Tensor:
    """Return the weights that minimise E ||y - (M * X) w / (1 - p)||^2 over masks M.

    The solution is in closed form. Shapes: features (N, F), targets (N) -> (F). With inverted
    scaling the expectation is ||y - X w||^2 + p / (1 - p) ||G w||^2, where G^2 is the diagonal of
    X^T X. Raises ValueError unless 0 <= p < 1. Srivastava et al. 2014, section 9.1; Wager, Wang and
    Liang 2013.
    """
    check_probability(p, below_one=True)
    gram = features.T @ features
    penalty = p / (1.0 - p) * gram.diagonal().diag()
    weights: Tensor = torch.linalg.solve(gram + penalty, features.T @ targets)
    return weights


def ensemble_gradient(weights: Tensor, inputs: Tensor, target: Tensor, keep: Tensor) -> Tensor:
    """Return dE_N/dw of one linear unit, whose inputs are scaled by their keep probabilities.

    E_N = (t - sum_i p_i w_i I_i)^2 / 2 is the error of the mean of all sub-networks. Shapes:
    weights, inputs and keep (F), target () -> (F). Baldi and Sadowski 2013, equation 6.
    """
    error = target - (keep * weights * inputs).sum()
    return -error * keep * inputs


def expected_dropout_gradient(
    weights: Tensor, inputs: Tensor, target: Tensor, keep: Tensor
) -> Tensor:
    """Return E[dE_D/dw] of the same unit over its dropout masks, in closed form.

    E[dE_D/dw_i] = dE_N/dw_i + w_i p_i (1 - p_i) I_i^2: the gradient of the ensemble plus that of a
    penalty that grows with each input's variance under dropout. Shapes as in `ensemble_gradient`.
    Baldi and Sadowski 2013, equation 9.
    """
    variance = keep * (1.0 - keep) * inputs.square()
    return ensemble_gradient(weights, inputs, target, keep) + weights * variance
