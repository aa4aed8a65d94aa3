import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from dropout_core.config import PreprocessingConfig
from dropout_core.errors import DataError, ModelError
from dropout_core.evaluation.evaluator import evaluate, score
from dropout_core.model.forward import ForwardPass, as_predicted
from dropout_core.model.predictor import TILE_ROWS, TILES, Predictor, fingerprint, machine
from dropout_core.model.saved_model import WEIGHTS, save_model
from tests.support.networks import networks
from tests.support.served_models import NUMBER_EMBEDDINGS, make_model, normal, numbers

SCALES = ["standard", "robust", "quantile", "minmax"]


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_row_has_the_same_bits_in_any_company(data: st.DataObject) -> None:
    num_features = data.draw(st.integers(1, 40), label="features")
    categories = data.draw(st.booleans(), label="categories")
    predictor = Predictor(
        *make_model(
            num_features=num_features,
            num_classes=data.draw(st.sampled_from([None, *range(2, 21)]), label="classes"),
            categories=categories,
            preprocessing=PreprocessingConfig(
                scale=data.draw(st.sampled_from(SCALES), label="scale"),
                number_embedding=data.draw(st.sampled_from(NUMBER_EMBEDDINGS), label="numbers"),
            ),
            **data.draw(networks(widest=70)),
        )
    )
    rows = 10 + 5 * normal(2 * TILE_ROWS + 3, num_features, seed=data.draw(st.integers(0, 99)))
    if categories:
        rows[::5, 0] = math.nan
        codes = [torch.arange(len(rows), dtype=torch.float64)[:, None] % size for size in (4, 31)]
        rows = torch.cat([rows, *codes], dim=1)
    alone = torch.cat([predictor.outputs(row[None]) for row in rows])
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=100))
    assert torch.equal(predictor.outputs(rows), alone)
    assert torch.equal(predictor.outputs(rows[chosen]), alone[chosen])
    company = torch.ones_like(rows)
    company[:, :num_features] = 1e6
    company[len(chosen) % len(rows)] = rows[0]
    assert torch.equal(predictor.outputs(company)[len(chosen) % len(rows)], alone[0])


@pytest.mark.parametrize("num_outputs", [*range(2, 21), 100])
@pytest.mark.parametrize("num_features", [1, 3, 17, 64, 129])
def test_a_row_has_the_same_bits_in_every_batch_size(num_features: int, num_outputs: int) -> None:
    predictor = Predictor(
        *make_model(num_features=num_features, num_classes=num_outputs, hidden=(33,))
    )
    rows = 10 + 5 * normal(2 * max(TILES), num_features)
    together = predictor.outputs(rows)
    for num_rows in (*range(1, TILE_ROWS + 9), *(size + n for size in TILES for n in (-1, 0, 1))):
        assert torch.equal(predictor.outputs(rows[:num_rows]), together[:num_rows])


def test_a_row_has_the_same_bits_among_4096() -> None:
    predictor = Predictor(*make_model(num_features=784, num_classes=10, hidden=(256, 256)))
    rows = 10 + 5 * normal(4096, 784)
    together = predictor.outputs(rows)
    for index in (0, 1, 2047, 4095):
        assert torch.equal(predictor.outputs(rows[index : index + 1])[0], together[index])


def test_two_predictors_of_one_fingerprint_give_the_same_bits_however_many_threads_they_use() -> (
    None
):
    model = make_model(num_features=784, num_classes=10, hidden=(256, 256))
    alone = Predictor(*model)
    rows = 10 + 5 * normal(4096, 784)
    sizes = (1, 8, 16, 32, 64, 128, 4096)
    expected = [alone.outputs(rows[:size]) for size in sizes]
    torch.set_num_threads(2)
    try:
        shared = Predictor(*model)
        found = [shared.outputs(rows[:size]) for size in sizes]
    finally:
        torch.set_num_threads(1)
    # Some processors share the products of some tiles between threads, which rounds differently.
    if shared.fingerprint == alone.fingerprint:
        assert all(map(torch.equal, found, expected))
    else:
        assert shared.fingerprint == f"{alone.fingerprint}/threads-2"


@pytest.mark.parametrize("activation", ["tanh", "gelu", "logistic"])
@pytest.mark.parametrize("num_units", [7, 22])
def test_no_row_in_thousands_rounds_by_its_place(activation: str, num_units: int) -> None:
    labels = {"task": "multilabel", "targets": ("spam", "ad", "news")}
    predictor = Predictor(*make_model(hidden=(num_units,), activation=activation, **labels))
    rows = 10 + 5 * normal(4096, 5)
    together = predictor.outputs(rows)
    for size in (7, 8, 24):
        apart = torch.cat([predictor.outputs(part) for part in torch.split(rows, size)])
        assert torch.equal(apart, together)


def test_no_tile_leaves_a_rest_of_its_activations() -> None:
    labels = {"task": "multilabel", "targets": ("spam", "ad", "news")}
    assert set(Predictor(*make_model(hidden=(32,), **labels))._tiles) <= {32, 64, 128}
    assert set(Predictor(*make_model(hidden=(7,)))._tiles) <= {32, 64, 128}
    assert set(Predictor(*make_model(hidden=(64, 18)))._tiles) <= {16, 32, 64, 128}


class ByThreads(Predictor):
    """Rounds by the number of threads."""

    def _outputs(self, matrix: Tensor, forward: ForwardPass) -> Tensor:
        return super()._outputs(matrix, forward) + torch.get_num_threads()


def test_threads_are_named_where_they_change_a_bit() -> None:
    torch.set_num_threads(2)
    try:
        assert ByThreads(*make_model()).fingerprint.endswith("/threads-2")
    finally:
        torch.set_num_threads(1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the proof on a GPU needs one")
def test_a_row_has_the_same_bits_in_any_company_on_a_gpu() -> None:
    predictor = Predictor(*make_model(hidden=(64, 64)), device="cuda")
    rows = 10 + 5 * normal(300, 5)
    together = predictor.outputs(rows)
    for size in (1, 7, 33):
        apart = torch.cat([predictor.outputs(part) for part in torch.split(rows, size)])
        assert torch.equal(apart, together)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian", "batchwise", "dropconnect"])
def test_a_row_is_as_uncertain_in_any_company(kind: str) -> None:
    dropout = {"kind": kind, "p": 0.5}
    predictor = Predictor(*make_model(hidden=(7,), hidden_dropout=dropout))
    rows = 10 + 5 * normal(200, 5)
    together = predictor.monte_carlo(rows, num_samples=5, seed=3)
    for chosen in ([0], [199], [150, 3], [*range(30, 77)]):
        alone = predictor.monte_carlo(rows[chosen], num_samples=5, seed=3)
        assert torch.equal(alone.mean, together.mean[chosen])
        assert torch.equal(alone.standard_deviation, together.standard_deviation[chosen])
        assert torch.equal(alone.entropy, together.entropy[chosen])
        assert torch.equal(alone.mutual_information, together.mutual_information[chosen])
    assert (together.standard_deviation > 0).any()
    another = predictor.monte_carlo(rows, num_samples=5, seed=4)
    assert not torch.equal(another.mean, together.mean)


def test_no_rows_have_no_outputs() -> None:
    predictor = Predictor(*make_model())
    assert predictor.outputs(normal(0, 5)).shape == (0, 3)
    assert predictor.predict(numbers(normal(0, 5))).values == []


def test_probabilities_are_those_of_the_network_with_dropout_off() -> None:
    model, description = make_model(batch_norm=True, hidden_dropout=0.5)
    rows = 10 + 5 * normal(40, 5)
    outputs = Predictor(model, description).outputs(rows)
    expected = F.softmax(model.eval()(rows), dim=1)
    torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(outputs.sum(dim=1), torch.ones(40, dtype=torch.float64))


def test_classic_dropout_scales_activations_at_inference() -> None:
    classic = {"input_dropout": {"keep": 0.5, "scaling": "classic"}, "hidden": ()}
    model, description = make_model(num_classes=None, **classic)
    rows = normal(4, 5)
    layer = model.network.output
    expected = F.linear(model.preprocessing(rows) * 0.5, layer.weight, layer.bias).double()
    # Six float32 terms of a sum of magnitudes below 20, in units of 20: off by 6 * 2^-24 * 400.
    torch.testing.assert_close(
        Predictor(model, description).outputs(rows),
        expected * model.target_scale + model.target_mean,
        rtol=0,
        atol=6 * 2.0**-24 * 400,
    )


def test_a_prediction_is_the_likeliest_class_by_its_name() -> None:
    predictor = Predictor(*make_model())
    rows = 10 + 5 * normal(40, 5)
    predictions = predictor.predict(numbers(rows))
    assert torch.equal(predictions.probabilities, predictor.outputs(rows))
    best = predictions.probabilities.argmax(dim=1).tolist()
    assert predictions.values == [f"class {index}" for index in best]
    assert len(set(best)) > 1


def test_a_regression_predicts_in_the_units_of_its_target() -> None:
    model, description = make_model(num_classes=None)
    rows = 10 + 5 * normal(40, 5)
    predictions = Predictor(model, description).predict(numbers(rows))
    assert predictions.probabilities is None
    torch.testing.assert_close(
        torch.tensor(predictions.values, dtype=torch.float64),
        model.eval()(rows)[:, 0],
        rtol=1e-6,
        atol=0,
    )


def test_several_targets_are_predicted_by_name() -> None:
    frame = numbers(10 + 5 * normal(40, 5))
    regressor = Predictor(*make_model(num_classes=None, targets=("height", "weight")))
    outputs = regressor.outputs(regressor.encode(frame))
    names = ("height", "weight")
    assert regressor.predict(frame).values == [
        dict(zip(names, row, strict=True)) for row in outputs.tolist()
    ]
    labels = Predictor(*make_model(task="multilabel", targets=("spam", "ad")))
    predictions = labels.predict(frame)
    assert predictions.values == [
        {"spam": spam > 0.5, "ad": ad > 0.5} for spam, ad in predictions.probabilities.tolist()
    ]
    assert len({tuple(value.values()) for value in predictions.values}) > 1


def test_evaluate_scores_what_predict_answers() -> None:
    rows = numbers(10 + 5 * normal(70, 5))
    classifier = Predictor(*make_model())
    targets = torch.randint(3, (70,), generator=Generator().manual_seed(0))
    one_by_one = torch.cat([classifier.predict(row).probabilities for row in rows.iter_slices(1)])
    classes = classifier.description.classes
    labelled = rows.with_columns(target=pl.Series([classes[index] for index in targets.tolist()]))
    assert evaluate(classifier, labelled) == score(
        one_by_one, targets, task="multiclass", names=classes
    )

    regressor = Predictor(*make_model(num_classes=None))
    values = [value for row in rows.iter_slices(1) for value in regressor.predict(row).values]
    by_prediction = score(
        torch.tensor(values, dtype=torch.float64)[:, None],
        normal(70, 1),
        task="regression",
        names=("target",),
    )
    labelled = rows.with_columns(target=pl.Series(normal(70).numpy()))
    assert evaluate(regressor, labelled) == by_prediction


def test_rows_without_a_target_do_not_count() -> None:
    regressor = Predictor(*make_model(num_classes=None))
    rows = numbers(normal(6, 5)).with_columns(target=pl.Series([1.0, None, 2.0, None, 3.0, 4.0]))
    assert evaluate(regressor, rows) == evaluate(regressor, rows[[0, 2, 4, 5]])


@pytest.mark.parametrize("num_columns", [4, 6])
def test_a_wrong_number_of_columns_names_both_numbers(num_columns: int) -> None:
    with pytest.raises(ValueError, match=f"{num_columns} columns given, the model takes 5"):
        Predictor(*make_model()).outputs(normal(3, num_columns))


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="'feature 4'"):
        Predictor(*make_model()).predict(numbers(normal(3, 4)))


def test_large_features_keep_their_differences() -> None:
    model, description = make_model(num_features=1, num_classes=None, hidden=())
    model.preprocessing.fit(1e12 + torch.arange(10, dtype=torch.float64)[:, None])
    rows = torch.tensor([[1e12], [1e12 + 1]], dtype=torch.float64)
    first, second = Predictor(model, description).outputs(rows)
    assert first != second


def test_features_of_any_real_dtype_are_taken() -> None:
    predictor = Predictor(*make_model())
    rows = torch.randint(20, (6, 5), generator=Generator().manual_seed(0))
    assert torch.equal(predictor.outputs(rows), predictor.outputs(rows.double()))
    assert torch.equal(predictor.outputs(rows.float()), predictor.outputs(rows.double()))


def test_the_model_given_stays_as_it_was() -> None:
    model, description = make_model()
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    predictor = Predictor(model, description)
    outputs = predictor.outputs(normal(3, 5))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    nn.init.ones_(model.network.hidden[0].linear.weight)
    assert torch.equal(predictor.outputs(normal(3, 5)), outputs)


def test_a_loaded_model_answers_as_the_saved_one_did(tmp_path: Path) -> None:
    model, description = make_model(batch_norm=True)
    save_model(tmp_path, model, description)
    rows = normal(9, 5)
    loaded = Predictor.load(tmp_path)
    assert torch.equal(loaded.outputs(rows), Predictor(model, description).outputs(rows))
    assert loaded.description.features == description.features


def test_corrupted_weights_are_not_served(tmp_path: Path) -> None:
    save_model(tmp_path, *make_model())
    weights = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(ModelError, match="checksum"):
        Predictor.load(tmp_path)


def test_a_model_whose_rows_depend_on_each_other_is_not_served() -> None:
    model, description = make_model()
    model.network.input_dropout = nn.Softmax(dim=0)  # over the rows
    with pytest.raises(ModelError, match="depends on the rows around it"):
        Predictor(model, description)


def test_the_fingerprint_names_what_the_promise_is_scoped_to() -> None:
    name = fingerprint("cpu")
    assert name.startswith("cpu/")
    assert f"torch-{torch.__version__}" in name
    assert name.endswith("/threads-1")
    assert Predictor(*make_model()).fingerprint == machine("cpu") == name.removesuffix("/threads-1")


@pytest.mark.parametrize("sharing", ["backbone", "nothing"])
@pytest.mark.parametrize(
    "config",
    [{"num_classes": 3}, {"num_classes": None}, {"task": "multilabel", "targets": ("spam", "ad")}],
    ids=str,
)
def test_the_spread_of_members_is_that_of_their_predictions(
    config: dict[str, Any], sharing: str
) -> None:
    model, description = make_model(**config, members=3, member_sharing=sharing)
    predictor, rows = Predictor(model, description), 10 + 3 * normal(70, 5)
    spread = predictor.member_spread(rows)
    outputs = model.eval().network.of_members(model.preprocessing(rows)).double()
    predicted = as_predicted(outputs * model.target_scale + model.target_mean, description.task)
    torch.testing.assert_close(spread.mean, predicted.mean(dim=1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        spread.standard_deviation, predicted.std(dim=1), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(spread.mean, predictor.outputs(rows), rtol=1e-5, atol=1e-6)
    assert (spread.entropy is None) == (description.task == "regression")
    for row in (0, 31, 69):
        alone = predictor.member_spread(rows[[row]])
        assert torch.equal(alone.mean[0], spread.mean[row])
        assert torch.equal(alone.standard_deviation[0], spread.standard_deviation[row])


def test_one_member_does_not_spread() -> None:
    predictor = Predictor(*make_model())
    assert predictor.num_members == 1
    with pytest.raises(ValueError, match="one member"):
        predictor.member_spread(10 + 3 * normal(3, 5))
