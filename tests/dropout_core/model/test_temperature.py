import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.model.temperature import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature
from tests.support.served_models import normal


def drawn(num_rows: int, num_classes: int, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Logits, and classes that are drawn with the probabilities of logits / temperature."""
    logits = 3 * normal(num_rows, num_classes)
    stream = torch.Generator().manual_seed(1)
    probabilities = (logits / temperature).softmax(dim=1)
    return logits, torch.multinomial(probabilities, 1, generator=stream)[:, 0]


@pytest.mark.parametrize("true", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_it_finds_the_temperature_that_targets_were_drawn_with(task: str, true: float) -> None:
    logits, targets = drawn(20_000, 2 if task == "multilabel" else 4, temperature=true)
    if task == "multilabel":  # two labels, each of them the choice between 0 and a logit
        pairs = logits.view(-1, 2)
        logits = (pairs[:, 1] - pairs[:, 0]).view(-1, 2)
        targets = torch.bernoulli(
            (logits / true).sigmoid(), generator=torch.Generator().manual_seed(2)
        )
    # The relative error of the maximum likelihood is about 1 / sqrt(information); each row has at
    # least .02 of it at these temperatures.
    found = fit_temperature(logits, targets, task=task)
    assert found == pytest.approx(true, rel=5 / math.sqrt(0.02 * 20_000))


def test_no_other_temperature_has_a_lower_log_loss() -> None:
    logits, targets = drawn(5_000, 3, temperature=1.7)
    found = fit_temperature(logits, targets, task="multiclass")
    losses = {t: float(F.cross_entropy(logits / t, targets)) for t in (0.97 * found, 1.03 * found)}
    assert F.cross_entropy(logits / found, targets) < min(losses.values())


def test_probabilities_that_are_right_stay() -> None:
    logits = normal(300, 3)
    targets = logits.argmax(dim=1)
    found = fit_temperature(logits, targets, task="multiclass")
    # All rows are right, which the log loss would reward with any certainty.
    assert MIN_TEMPERATURE * 2 < found < 1
    confidence = (logits / found).softmax(dim=1).amax(dim=1)
    assert confidence.mean() < 1 - 1 / 3_000


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (torch.zeros(0, 3), torch.zeros(0).long()),
        (torch.zeros(5, 3), torch.zeros(5).long()),
        (torch.full((5, 3), math.nan), torch.zeros(5).long()),
        (torch.tensor([[math.inf, 0.0]]), torch.zeros(1).long()),
    ],
    ids=["no rows", "equal logits", "NaN", "infinite"],
)
def test_where_nothing_can_be_learnt_it_is_1(logits: Tensor, targets: Tensor) -> None:
    assert fit_temperature(logits, targets, task="multiclass") == 1.0


def test_it_is_bounded_for_logits_that_are_all_wrong() -> None:
    logits = 100 * normal(50, 3)
    found = fit_temperature(logits, logits.argmin(dim=1), task="multiclass")
    assert found == pytest.approx(MAX_TEMPERATURE)
    huge = fit_temperature(1e300 * logits, logits.argmin(dim=1), task="multiclass")
    assert huge == pytest.approx(MAX_TEMPERATURE)
