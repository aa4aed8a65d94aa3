import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from dropout_core import metrics as scoring
from dropout_core.checkpoint import load_checkpoint, save_checkpoint
from dropout_core.config import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    EarlyStoppingConfig,
    LinearConfig,
    MLPConfig,
    OneCycleConfig,
    Optimizer,
    Scheduler,
    SGDConfig,
    StepConfig,
    TrainingConfig,
)
from dropout_core.mlp import MLP
from dropout_core.train import Diverged, EpochMetrics, Training, TrainingData, train
from tests.dropout_core.training_runs import (
    blob_data,
    blob_training,
    blobs,
    full_training,
    run_batches,
    same_bits,
    timeless,
)

OPTIMIZERS = [
    SGDConfig(lr=0.3),
    SGDConfig(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    AdamConfig(lr=0.05),
    AdamWConfig(lr=0.05),
]
SCHEDULERS = [
    None,
    StepConfig(name="step", step_size=1, gamma=0.5),
    CosineConfig(name="cosine"),
    LinearConfig(name="linear"),
    OneCycleConfig(name="one_cycle", max_lr=0.2),
]


def test_the_loss_falls_and_the_score_rises_on_what_can_be_learnt() -> None:
    *_, last = history = list(blob_training(epochs=40, optimizer=AdamConfig(lr=0.02)))
    assert last.train_loss < history[0].train_loss / 2
    assert last.validation_loss < history[0].validation_loss * 0.7
    assert last.validation_score > history[0].validation_score + 0.3


def test_a_regression_is_learnt_too() -> None:
    features, _ = blobs(200)
    targets = features @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])
    data = TrainingData(features[:150], targets[:150], features[150:], targets[150:])
    config = TrainingConfig(epochs=40, batch_size=16, optimizer=AdamConfig(lr=0.05))
    model = MLP(MLPConfig(hidden=()), in_features=4, out_features=1)
    *_, last = train(model, data, config, task="regression")
    assert last.validation_score > 0.99


def test_an_epoch_reports_what_happened_in_it() -> None:
    training = blob_training(scheduler=StepConfig(name="step", step_size=1, gamma=0.5))
    history = list(training)
    assert history == training.history
    assert [metrics.epoch for metrics in history] == [1, 2, 3]
    assert [metrics.learning_rate for metrics in history] == pytest.approx([1e-3, 5e-4, 2.5e-4])
    for metrics in history:
        assert metrics.train_loss > 0
        assert metrics.samples_per_second > 0

    data = blob_data()
    outputs = training.model.eval()(data.validation_features)
    loss = scoring.loss(outputs, data.validation_targets, "multiclass")
    assert history[-1].validation_loss == pytest.approx(loss.item(), rel=1e-6)
    correct = outputs.argmax(dim=1) == data.validation_targets
    assert history[-1].validation_score == pytest.approx(correct.double().mean().item())


def test_without_validation_rows_there_is_no_validation_loss() -> None:
    (metrics,) = blob_training(blob_data(num_validation=0), epochs=1)
    assert (metrics.validation_loss, metrics.validation_score) == (None, None)


@pytest.mark.parametrize("batch_size", [1, 7, 16, 60, 1000])
def test_the_training_loss_is_the_mean_over_all_rows(batch_size: int) -> None:
    training = blob_training(
        model={"hidden_dropout": 0.0}, batch_size=batch_size, optimizer=SGDConfig(lr=1e-30)
    )
    (metrics,) = itertools.islice(training, 1)
    features, targets = blobs()
    loss = scoring.loss(training.model(features), targets, "multiclass")
    assert metrics.train_loss == pytest.approx(loss.item(), rel=1e-5)


def test_every_epoch_takes_every_row_once_in_an_order_of_its_own() -> None:
    features = torch.arange(10.0)[:, None]
    model = MLP(MLPConfig(hidden=()), in_features=1, out_features=1)
    seen: list[float] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0][:, 0].tolist()))
    config = TrainingConfig(epochs=2, batch_size=3)
    list(train(model, TrainingData(features, features), config, task="regression"))
    first, second = seen[:10], seen[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert first != sorted(first)


def test_a_last_row_of_its_own_is_left_out_with_batch_norm_alone() -> None:
    data = blob_data(num_rows=33)
    assert blob_training(data).num_batches == 3
    with_batch_norm = blob_training(data, model={"batch_norm": True})
    assert with_batch_norm.num_batches == 2
    assert len(list(with_batch_norm)) == 3


def test_early_stopping_ends_the_run_with_the_best_weights_back() -> None:
    stopping = EarlyStoppingConfig(patience=4)
    training = blob_training(epochs=200, optimizer=SGDConfig(lr=1.0), early_stopping=stopping)
    losses = [metrics.validation_loss for metrics in training]
    assert training.stopped_early
    assert training.finished
    assert len(losses) < 200
    assert losses.index(min(losses)) == len(losses) - 1 - 4
    assert validation_loss(training) == min(losses)


def test_the_best_weights_are_back_also_when_the_run_is_not_stopped() -> None:
    stopping = EarlyStoppingConfig(patience=100)
    training = blob_training(epochs=30, optimizer=SGDConfig(lr=1.0), early_stopping=stopping)
    losses = [metrics.validation_loss for metrics in training]
    assert not training.stopped_early
    assert validation_loss(training) == min(losses) < losses[-1]


def test_a_small_improvement_does_not_prolong_the_run_but_its_weights_are_kept() -> None:
    stopping = EarlyStoppingConfig(patience=3, min_delta=0.5)
    training = blob_training(epochs=50, optimizer=SGDConfig(lr=0.01), early_stopping=stopping)
    losses = [metrics.validation_loss for metrics in training]
    assert len(losses) == 1 + 3
    assert validation_loss(training) == min(losses) < losses[0]


def validation_loss(training: Training) -> float:
    data = training.data
    with torch.no_grad():
        outputs = training.model.eval()(data.validation_features)
    return scoring.loss(outputs, data.validation_targets, "multiclass").item()


def test_without_early_stopping_validation_rows_never_influence_the_weights() -> None:
    without = blob_training(blob_data(num_validation=0), model={"batch_norm": True})
    with_some = blob_training(blob_data(num_validation=30), model={"batch_norm": True})
    assert [m.train_loss for m in without] == [m.train_loss for m in with_some]
    assert same_bits(without.model, with_some.model)


def test_a_loss_that_is_not_finite_names_its_epoch() -> None:
    training = blob_training(optimizer=SGDConfig(lr=1e30), model={"hidden": (8, 8)})
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) in epoch 1") as caught:
        list(training)
    assert caught.value.epoch == 1
    assert training.history == []


def test_an_infinite_validation_loss_has_diverged_too() -> None:
    features, targets = blobs()
    data = TrainingData(features, targets, features * float("inf"), targets)
    with pytest.raises(Diverged, match="epoch 1"):
        list(blob_training(data))


def test_the_max_norm_holds_after_every_epoch() -> None:
    training = blob_training(model={"max_norm": 0.5}, optimizer=SGDConfig(lr=1.0))
    for _ in training:
        for layer in (training.model.hidden[0].linear, training.model.output):
            assert (layer.weight.norm(dim=1) <= 0.5 * (1 + 1e-6)).all()


@pytest.mark.parametrize(
    ("data", "changes", "reason"),
    [
        (
            blob_data(num_validation=0),
            {"early_stopping": EarlyStoppingConfig()},
            "early stopping needs validation rows",
        ),
        (blob_data(num_rows=0), {}, "0 rows are too few"),
        (blob_data(num_rows=1), {"model": {"batch_norm": True}}, "1 rows are too few"),
        (blob_data(), {"model": {"batch_norm": True}, "batch_size": 1}, "batches of at least two"),
        (TrainingData(*blobs(), *blobs(0)), {}, "none of them"),
    ],
)
def test_a_run_that_cannot_be_is_refused_at_once(
    data: TrainingData, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        blob_training(data, **changes)


def test_a_seed_decides_every_bit() -> None:
    first, same, other = (blob_training(seed=seed) for seed in (1, 1, 2))
    histories = [timeless(list(training)) for training in (first, same, other)]
    assert same_bits(first.model, same.model)
    assert histories[0] == histories[1] != histories[2]
    assert not same_bits(first.model, other.model)


def test_the_global_generator_is_neither_read_nor_changed() -> None:
    models = []
    for seed in (1, 2):
        training = blob_training(model={"input_dropout": 0.1})
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        list(training)
        assert torch.equal(torch.get_rng_state(), before)
        models.append(training.model)
    assert same_bits(*models)


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_run_interrupted_between_any_two_batches_ends_with_the_same_bits(
    optimizer: Optimizer, scheduler: Scheduler | None, tmp_path: Path
) -> None:
    whole = full_training(optimizer, scheduler)
    list(whole)
    num_batches = len(whole.history) * whole.num_batches
    assert num_batches >= 2 * 4

    for done in range(num_batches + 1):
        first = full_training(optimizer, scheduler)
        run_batches(first, done)
        assert (len(first.history), first.state().values["batch"]) == divmod(done, 4)
        path = save_checkpoint(tmp_path, first.state())

        second = full_training(optimizer, scheduler)
        second.model.initialise(seed=1)  # every weight has to come from the checkpoint
        second.restore(load_checkpoint(path))
        list(second)

        assert timeless(second.history) == timeless(whole.history)
        assert same_bits(second.model, whole.model)
        assert second.stopped_early == whole.stopped_early


def test_interruptions_in_a_row_change_nothing() -> None:
    whole = full_training(OPTIMIZERS[1], SCHEDULERS[4])
    list(whole)
    training = full_training(OPTIMIZERS[1], SCHEDULERS[4])
    for _ in range(12):
        state = training.state()
        training = full_training(OPTIMIZERS[1], SCHEDULERS[4])
        training.restore(state)
        run_batches(training, 1)
    assert timeless(training.history) == timeless(whole.history)
    assert training.finished


def test_a_state_is_a_copy_that_further_training_leaves_alone() -> None:
    training = blob_training()
    next(iter(training))
    state = training.state()
    before = {name: tensor.clone() for name, tensor in state.tensors.items()}
    list(training)
    assert all(torch.equal(state.tensors[name], before[name]) for name in before)
    assert len(state.values["history"]) == 1


def test_a_finished_run_yields_nothing_more() -> None:
    training = blob_training()
    list(training)
    assert list(training) == []


def test_an_interruption_is_for_good() -> None:
    training = blob_training()
    run_batches(training, 2)
    assert list(training) == []
    assert (len(training.history), training.state().values["batch"]) == (0, 2)


def test_data_moves_to_a_device_with_or_without_validation_rows() -> None:
    meta = torch.device("meta")  # the one device besides the CPU that every machine has
    assert {tensor.device for tensor in vars(blob_data().to(meta)).values()} == {meta}
    without = blob_data(num_validation=0).to(meta)
    assert (without.validation_features, without.validation_targets) == (None, None)


def test_metrics_are_plain_frozen_values() -> None:
    metrics = EpochMetrics(1, 0.5, None, None, 0.1, 100.0)
    with pytest.raises(AttributeError):
        metrics.epoch = 2


def test_every_batch_of_every_epoch_has_a_mask_of_its_own() -> None:
    features = torch.ones(8, 200)
    model = MLP(MLPConfig(hidden=(), input_dropout=0.5), in_features=200, out_features=1)
    masks: list[Tensor] = []
    model.output.register_forward_pre_hook(lambda _, inputs: masks.append(inputs[0] > 0))
    data = TrainingData(features, torch.randn(8, 1, generator=Generator().manual_seed(0)))
    config = TrainingConfig(epochs=2, batch_size=4)
    list(train(model, data, config, task="regression"))
    assert len(masks) == 4
    for one, other in itertools.combinations(masks, 2):
        assert not torch.equal(one, other)


def test_the_patience_left_survives_an_interruption() -> None:
    def stopping_early() -> Training:
        stopping = EarlyStoppingConfig(patience=4)
        return blob_training(epochs=200, optimizer=SGDConfig(lr=1.0), early_stopping=stopping)

    whole = stopping_early()
    list(whole)
    assert whole.stopped_early
    for epochs in range(len(whole.history) - 4, len(whole.history) + 1):
        first, second = stopping_early(), stopping_early()
        run_batches(first, epochs * first.num_batches)
        second.restore(first.state())
        list(second)
        assert timeless(second.history) == timeless(whole.history)
        assert same_bits(second.model, whole.model)


VARIANTS = [
    {"hidden_dropout": {"p": 0.3, "scaling": "classic"}},
    {"hidden_dropout": {"kind": "gaussian", "p": 0.3}},
    {"hidden_dropout": {"kind": "batchwise", "p": 0.3}},
    {"hidden_dropout": {"kind": "batchwise", "p": 0.3, "group_size": 5}},
    {"hidden_dropout": {"kind": "dropconnect", "p": 0.3}},
    {"hidden_dropout": {"kind": "dropconnect", "p": 0.3, "masks": "per_batch"}},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_run_with_any_dropout_learns_and_goes_on_with_the_same_bits(
    variant: dict[str, Any],
) -> None:
    def fresh() -> Training:
        return blob_training(model=variant, epochs=20, optimizer=AdamConfig(lr=0.02))

    whole, first, second = fresh(), fresh(), fresh()
    list(whole)
    run_batches(first, 6)
    second.restore(first.state())
    list(second)
    assert same_bits(second.model, whole.model)
    assert timeless(second.history) == timeless(whole.history)
    chance = math.log(3)  # the loss of knowing nothing of three classes
    assert whole.history[-1].validation_loss < 0.75 * chance < whole.history[0].validation_loss


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_run_may_go_on_under_another_dropout(variant: dict[str, Any]) -> None:
    first = blob_training(optimizer=AdamConfig(lr=0.02))
    next(iter(first))
    second = blob_training(model=variant, optimizer=AdamConfig(lr=0.02))
    second.model.initialise(seed=1)
    second.restore(first.state())
    assert same_bits(second.model, first.model)
    list(second)
    list(first)
    assert [metrics.epoch for metrics in second.history] == [1, 2, 3]
    assert second.history[0] == first.history[0]
    assert second.history[1].train_loss != first.history[1].train_loss
