from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.config import (
    AdamConfig,
    EarlyStoppingConfig,
    MLPConfig,
    PreprocessingConfig,
    SGDConfig,
    TrainingConfig,
)
from dropout_core.data.columns import describe
from dropout_core.data.encoder import Encoder
from dropout_core.data.selection import select
from dropout_core.model.saved_model import build_model
from dropout_core.nn.mlp import MLP
from dropout_core.training.memory import input_sizes, num_parameters, training_bytes
from tests.support.served_models import NUMBER_EMBEDDINGS


@given(
    hidden=st.lists(st.integers(1, 9), max_size=4),
    batch_norm=st.booleans(),
    activation=st.sampled_from(["relu", "maxout"]),
    maxout_pieces=st.integers(2, 4),
    in_features=st.integers(1, 9),
    out_features=st.integers(1, 9),
    members=st.integers(1, 3),
    sharing=st.sampled_from(["backbone", "nothing"]),
    learned=st.booleans(),
)
@settings(deadline=None)
def test_the_number_of_parameters_is_that_of_the_network(
    hidden: list[int],
    batch_norm: bool,
    activation: str,
    maxout_pieces: int,
    in_features: int,
    out_features: int,
    members: int,
    sharing: str,
    learned: bool,
) -> None:
    config = MLPConfig(
        hidden=hidden,
        batch_norm=batch_norm and members == 1,
        activation=activation,
        maxout_pieces=maxout_pieces,
        members=members,
        member_sharing=sharing,
        parametric_activation=learned and activation != "maxout",
        input_scaling=learned,
    )
    sizes = {"in_features": in_features, "out_features": out_features}
    built = MLP(config, **sizes)
    assert num_parameters(config, **sizes) == sum(p.numel() for p in built.parameters())


def estimate(**changes: Any) -> int:
    chosen = {name: changes.pop(name) for name in list(changes) if name in MLPConfig.model_fields}
    model = MLPConfig(**{"hidden": [10], **chosen})
    sizes = {"in_features": 4, "out_features": 3, "num_rows": 1000}
    names = [*sizes, "num_columns", "num_embedded", "num_entries"]
    sizes |= {name: changes.pop(name) for name in list(changes) if name in names}
    return training_bytes(model, TrainingConfig(**{"batch_size": 32, **changes}), **sizes)


def test_an_estimate_counts_every_part() -> None:
    parameters = 4 * 10 + 10 + 10 * 3 + 3
    copies = 4  # the weights, their gradients and two of Adam's moments
    activations = 32 * (4 + 4 * 10 + 2 * 3)
    assert estimate() == 4 * (copies * parameters + activations) + 1000 * (4 * (4 + 16) + 8 * 3)


def test_every_piece_of_a_unit_counts() -> None:
    parameters = 3 * (4 * 10 + 10) + 10 * 3 + 3
    activations = 32 * (4 + 4 * 3 * 10 + 2 * 3)
    expected = 4 * (4 * parameters + activations) + 1000 * (4 * (4 + 16) + 8 * 3)
    assert estimate(activation="maxout", maxout_pieces=3) == expected


def test_dropconnect_has_a_mask_of_the_weights_for_every_row() -> None:
    dropconnect = {"kind": "dropconnect", "p": 0.5}
    masks = 32 * (4 * 10)  # of the first layer: the output is not dropped
    assert estimate(hidden_dropout=dropconnect) == estimate() + 3 * masks
    assert estimate(hidden_dropout=dropconnect, hidden=[10, 7]) == (
        estimate(hidden=[10, 7]) + 3 * (masks + 32 * 10 * 7)
    )
    assert estimate(hidden_dropout={**dropconnect, "masks": "per_batch"}) == estimate()


@pytest.mark.parametrize(
    "more",
    [
        {"hidden": [11]},
        {"activation": "maxout"},
        {"parametric_activation": True},
        {"input_scaling": True},
        {"members": 2},
        {"members": 2, "member_sharing": "nothing"},
        {"hidden_dropout": {"kind": "dropconnect", "p": 0.5}},
        {"num_rows": 1001},
        {"in_features": 5},
        {"out_features": 4},
        {"num_columns": 5},
        {"num_embedded": 1},
        {"num_entries": 1},
        {"batch_size": 33},
        {"early_stopping": EarlyStoppingConfig()},
        {"ema_decay": 0.9},
    ],
    ids=str,
)
def test_more_of_anything_takes_more(more: dict[str, Any]) -> None:
    assert estimate(**more) > estimate()


def test_a_moving_average_and_the_best_weights_are_a_copy_of_the_parameters_each() -> None:
    parameters = 4 * 10 + 10 + 10 * 3 + 3
    assert estimate(ema_decay=0.9) == estimate() + 4 * parameters
    stopping = EarlyStoppingConfig()
    assert estimate(ema_decay=0.9, early_stopping=stopping) == estimate() + 2 * 4 * parameters


def test_sgd_keeps_less_than_adam() -> None:
    assert estimate(optimizer=SGDConfig()) < estimate(optimizer=AdamConfig())


def test_a_batch_is_no_larger_than_the_data() -> None:
    assert estimate(batch_size=1_048_576) == estimate(batch_size=1000)


@pytest.mark.parametrize("embedding", NUMBER_EMBEDDINGS, ids=str)
def test_inputs_are_known_from_the_columns_before_they_are_read(embedding: Any) -> None:
    count = 300
    frame = pl.DataFrame(
        {
            "number": [None, *(row % 7 for row in range(1, count))],
            "when": [datetime(2024, 1, 1 + day % 28, day % 24, day % 60) for day in range(count)],
            "few": ["a", "b", None] * (count // 3),
            "many": [f"word {row % 40}" for row in range(count)],
            "true": [True, False] * (count // 2),
            "target": [0.5 * row for row in range(count)],
        }
    )
    config = PreprocessingConfig(number_embedding=embedding)
    columns = describe(frame)
    selection = select(columns, target="target")
    sizes = input_sizes(columns, selection, config)
    encoder = Encoder.fit(frame, selection.features, config)
    model = build_model(encoder, config, MLPConfig(), num_outputs=1)
    assert sizes.num_values >= encoder.num_values
    assert sizes.num_numbers >= len(encoder.number_indices)
    assert sizes.num_indicators == len(model.preprocessing.indicated) == 1
    assert sizes.cardinalities == encoder.cardinalities == (3, 41)
    assert sizes.in_features(config) >= model.network.linears[0].in_features
    exact = num_parameters(
        MLPConfig(),
        in_features=model.network.linears[0].in_features,
        out_features=1,
        num_embedded=replace(sizes, num_numbers=len(encoder.number_indices)).num_embedded(config),
    )
    assert exact == sum(p.numel() for p in model.parameters())


def test_encodings_of_numbers_count_for_a_batch_and_for_the_rows_validated_at_once() -> None:
    rows, entries = 10_000, 480
    more = estimate(num_rows=rows, num_entries=entries) - estimate(num_rows=rows)
    assert more == 4 * (4 * 32 * entries + 2 * 8192 * entries)


def test_activations_count_for_each_member_and_scaled_weights_for_those_of_a_backbone() -> None:
    own = 4 * 10 + 10 + 10 * 3 + 3
    activations = 32 * (4 + 4 * 10 + 2 * 3)
    data = 1000 * (4 * (4 + 16) + 8 * 3)
    validated = 1000 * 2 * 5 * 10
    expected = 4 * (4 * 5 * own + 5 * activations + validated) + data
    assert estimate(members=5, member_sharing="nothing") == expected
    shared = 4 * 10 + 5 * (4 + 2 * 10) + 5 * (10 * 3 + 3)
    scaled = 2 * 5 * 4 * 10
    expected = 4 * (4 * shared + 5 * activations + scaled + validated) + data
    assert estimate(members=5, member_sharing="backbone") == expected


def test_a_network_of_a_stack_has_its_gradients_twice() -> None:
    model, sizes = MLPConfig(hidden=(16,)), {"in_features": 100, "out_features": 2, "num_rows": 10}
    alone, stacked = (
        training_bytes(model, TrainingConfig(stacked=stacked), **sizes) for stacked in (False, True)
    )
    assert stacked - alone == 4 * num_parameters(model, in_features=100, out_features=2)
