"""The forward pass of inference is the model's own, bit for bit."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.config import PreprocessingConfig
from dropout_core.model.forward import ForwardPass
from tests.support.networks import networks
from tests.support.served_models import NUMBER_EMBEDDINGS, make_model, normal

SCALES = ["standard", "robust", "quantile", "minmax"]


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_pass_is_what_the_modules_do(data: st.DataObject) -> None:
    categories = data.draw(st.booleans(), label="categories")
    model, _ = make_model(
        num_classes=data.draw(st.sampled_from([None, 3]), label="classes"),
        categories=categories,
        preprocessing=PreprocessingConfig(
            scale=data.draw(st.sampled_from(SCALES), label="scale"),
            number_embedding=data.draw(st.sampled_from(NUMBER_EMBEDDINGS), label="numbers"),
        ),
        **data.draw(networks(widest=40, batchwise=True)),
    )
    rows = 10 + 5 * normal(9, 5, seed=data.draw(st.integers(0, 99)))
    if data.draw(st.booleans(), label="missing"):
        rows[::2, 0] = math.nan
    if categories:
        codes = [torch.arange(9, dtype=torch.float64)[:, None] % size for size in (4, 31)]
        rows = torch.cat([rows, *codes], dim=1)
    model.eval()
    before = rows.clone()
    assert torch.equal(ForwardPass(model, model.network)(rows), model(rows))
    assert torch.equal(rows.nan_to_num(), before.nan_to_num())


@pytest.mark.parametrize("size", [1e308, -1e308])
def test_values_at_the_end_of_the_scale_are_none_that_is_missing(size: float) -> None:
    model, _ = make_model()
    model.eval()
    rows = torch.full((2, 5), size, dtype=torch.float64)
    rows[1, ::2] *= -1
    expected = model(rows)
    given = ForwardPass(model, model.network)(rows)
    assert torch.equal(given.nan_to_num(), expected.nan_to_num())
    assert torch.equal(given.isnan(), expected.isnan())
