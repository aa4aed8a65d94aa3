import itertools
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dropout_core.config import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    EarlyStoppingConfig,
    FlatCosineConfig,
    LinearConfig,
    MLPConfig,
    OneCycleConfig,
    Optimizer,
    PiecewiseLinearConfig,
    PreprocessingConfig,
    Scheduler,
    SGDConfig,
    StepConfig,
    Task,
    TrainingConfig,
)
from dropout_core.nn.functional import linear_dropout
from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.mlp import MLP
from dropout_core.training.checkpoint import load_checkpoint, save_checkpoint
from dropout_core.training.fused_step import FusedStep
from dropout_core.training.loop import Diverged, Length, Training, train
from dropout_core.training.losses import plain_loss, training_loss
from dropout_core.training.state import EpochMetrics
from dropout_core.training.training_data import TrainingData
from tests.support.training_runs import (
    after_each_step,
    blob_data,
    blob_training,
    blobs,
    full_training,
    run_batches,
    same_bits,
    timeless,
)

TASK: Task = "multiclass"
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


def test_quantiles_are_learnt_and_the_median_is_scored() -> None:
    # Without features only the biases learn, and the best are the quantiles of the targets.
    targets = torch.stack([torch.linspace(0, 1, 201), torch.linspace(-4, -2, 201)], dim=1)
    data = TrainingData(torch.zeros(201, 1), targets, torch.zeros(3, 1), targets[::100])
    config = TrainingConfig(
        epochs=60,
        batch_size=67,
        optimizer=AdamConfig(lr=0.1),
        scheduler=CosineConfig(name="cosine"),
        quantiles=[0.25, 0.5, 0.75],
        early_stopping=EarlyStoppingConfig(patience=60, monitor="mae"),
    )
    model = MLP(MLPConfig(hidden=()), in_features=1, out_features=6)
    *_, last = train(model, data, config, task="regression")
    expected = [0.25, 0.5, 0.75, -3.5, -3.0, -2.5]
    assert model.output.bias.tolist() == pytest.approx(expected, abs=0.1)
    # Of three targets each: the ends and the middle of their ranges.
    assert last.monitored == pytest.approx((1 / 3 + 2 / 3) / 2, abs=0.1)
    assert last.validation_loss == pytest.approx((1 / 6 + 4 / 6) / 2, abs=0.1)


def steps_of(training: Training) -> list[tuple[float, float]]:
    """The learning rate and the weight decay of every step of the run."""
    seen: list[tuple[float, float]] = []

    def watch() -> None:
        (group,) = training.optimizer.param_groups
        seen.append((group["lr"], group["weight_decay"]))

    with after_each_step(watch):
        list(training)
    return seen


@pytest.mark.parametrize("scheduler", [*SCHEDULERS[1:], FlatCosineConfig()], ids=repr)
def test_a_refit_takes_the_steps_to_the_best_epoch_on_the_same_schedules(
    scheduler: Scheduler,
) -> None:
    options = {
        "epochs": 6,
        "optimizer": AdamWConfig(lr=0.05),
        "scheduler": scheduler,
        "weight_decay_schedule": FlatCosineConfig(flat=0.1),
    }
    first = blob_training(**options, early_stopping=EarlyStoppingConfig(patience=2))
    first._best_epoch = 5  # as if early stopping had found it
    length = first.refit_length
    whole = steps_of(blob_training(**options))
    # 90 rows are six batches where 60 were four: 20 steps are three epochs and two batches.
    model = MLP(first.model.config, in_features=4, out_features=3)
    data = TrainingData(*blobs(90))
    refit = Training(
        model, data, TrainingConfig(**{"batch_size": 16, **options}), task=TASK, length=length
    )
    assert steps_of(refit) == whole[:20]
    assert [metrics.epoch for metrics in refit.history] == [1, 2, 3, 4]
    assert refit.finished


def test_a_refit_of_the_same_rows_ends_with_the_weights_of_the_best_epoch() -> None:
    stopping = EarlyStoppingConfig(patience=4)
    options = {"epochs": 200, "optimizer": SGDConfig(lr=1.0), "scheduler": SCHEDULERS[2]}
    first = blob_training(**options, early_stopping=stopping)
    list(first)
    length = first.refit_length
    assert length.num_steps == first.num_batches * (len(first.history) - 4)
    config = first.config.model_copy(update={"early_stopping": None})
    model = MLP(first.model.config, in_features=4, out_features=3)
    refit = Training(model, blob_data(num_validation=0), config, task=TASK, length=length)
    assert [m.train_loss for m in refit] == [m.train_loss for m in first.history[:-4]]
    assert same_bits(refit.model, first.model)


def test_an_interrupted_refit_ends_with_the_same_bits(tmp_path: Path) -> None:
    def fresh() -> Training:
        model = MLP(MLPConfig(hidden=(5,), hidden_dropout=0.2), in_features=4, out_features=3)
        config = TrainingConfig(epochs=9, batch_size=16, dropout_schedule=FlatCosineConfig())
        length = Length(num_steps=10, num_batches=3)
        return Training(model, blob_data(num_validation=0), config, task=TASK, length=length)

    whole = fresh()
    list(whole)
    assert len(whole.history) == 3  # of four, four and two batches
    for done in range(11):
        first, second = fresh(), fresh()
        run_batches(first, done)
        second.restore(load_checkpoint(save_checkpoint(tmp_path, first.state())))
        list(second)
        assert timeless(second.history) == timeless(whole.history)
        assert same_bits(second.model, whole.model)


def test_without_a_best_epoch_a_refit_takes_all_steps() -> None:
    training = blob_training()
    list(training)
    assert training.refit_length == Length(num_steps=12, num_batches=4)


def test_the_best_epoch_survives_an_interruption() -> None:
    stopping = EarlyStoppingConfig(patience=30)
    options = {"epochs": 30, "optimizer": SGDConfig(lr=1.0), "early_stopping": stopping}
    first, second = blob_training(**options), blob_training(**options)
    run_batches(first, 30 * first.num_batches)
    losses = [metrics.validation_loss for metrics in first.history]
    best = losses.index(min(losses)) + 1
    assert best < 30
    second.restore(first.state())
    assert second.refit_length.num_steps == best * first.num_batches


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
    loss = plain_loss("multiclass")(outputs, data.validation_targets)
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
    loss = plain_loss("multiclass")(training.model(features), targets)
    assert metrics.train_loss == pytest.approx(loss.item(), rel=1e-5)


# Noise of no size draws nothing, but autograd computes the steps of a network that has it.
NO_NOISE = {"kind": "gaussian", "p": 0.0}


@pytest.mark.parametrize("input_dropout", [0.0, NO_NOISE], ids=["fused", "autograd"])
def test_every_epoch_takes_every_row_once_in_an_order_of_its_own(input_dropout: object) -> None:
    # Each row has a column of its own, so the weights' gradient says which rows a batch had.
    features, targets = torch.eye(10), torch.ones(10, 1)
    config = MLPConfig(hidden=(), input_dropout=input_dropout)
    model = MLP(config, in_features=10, out_features=1)
    batches: list[list[int]] = []
    training = train(
        model,
        TrainingData(features, targets),
        TrainingConfig(epochs=2, batch_size=3, optimizer=SGDConfig(lr=0.01, momentum=0.5)),
        task="regression",
    )
    with after_each_step(
        lambda: batches.append(model.output.weight.grad[0].nonzero()[:, 0].tolist())
    ):
        list(training)
    assert [len(batch) for batch in batches] == [3, 3, 3, 1] * 2
    first, second = (list(itertools.chain(*epoch)) for epoch in (batches[:4], batches[4:]))
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
    return plain_loss("multiclass")(outputs, data.validation_targets).item()


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


def copy_of(model: MLP) -> MLP:
    """The same weights, and nothing else."""
    copy = MLP(model.config, in_features=model.in_features, out_features=model.out_features)
    copy.load_state_dict(model.state_dict())
    return copy


def test_divergence_can_be_told_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(Diverged(3, math.inf)))
    assert (type(error), str(error)) == (Diverged, "the loss became inf in epoch 3")


def test_gradients_that_an_earlier_run_has_left_play_no_part() -> None:
    first = blob_training(epochs=1)
    list(first)
    second, fresh = (
        Training(model, blob_data(), TrainingConfig(epochs=2, optimizer=SGDConfig()), task=TASK)
        for model in (first.model, copy_of(first.model))
    )
    assert timeless(list(second)) == timeless(list(fresh))
    assert same_bits(second.model, fresh.model)


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
        (blob_data(num_rows=1), {"model": {"batch_norm": True}}, "the largest here has 1"),
        (blob_data(), {"model": {"batch_norm": True}, "batch_size": 1}, "batches of at least 2"),
        (TrainingData(*blobs(), *blobs(0)), {}, "validation_features has no rows"),
        *(
            (blob_data(), {"model": model, "precision": "bfloat16"}, "bfloat16 is for relu")
            for model in (
                {"activation": "gelu"},
                {"batch_norm": True},
                {"hidden_dropout": {"kind": "batchwise", "p": 0.5}},
                {"input_dropout": {"kind": "batchwise", "p": 0.5}},
            )
        ),
        (blob_data(), {"class_weights": (1.0, 2.0)}, "2 weights for 3 classes"),
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


def assert_no_interruption_matters(fresh: Callable[[], Training], folder: Path) -> None:
    """Interrupt between any two batches, go on from the checkpoint's file: the same bits."""
    whole = fresh()
    list(whole)
    per_epoch = whole.num_batches
    num_batches = len(whole.history) * per_epoch
    assert num_batches >= 2 * 4

    for done in range(num_batches + 1):
        first = fresh()
        run_batches(first, done)
        assert (len(first.history), first.state().values["batch"]) == divmod(done, per_epoch)
        path = save_checkpoint(folder, first.state())

        second = fresh()
        second.model.initialise(seed=1)  # every weight has to come from the checkpoint
        second.restore(load_checkpoint(path))
        list(second)

        assert timeless(second.history) == timeless(whole.history)
        assert same_bits(second.model, whole.model)
        assert second.stopped_early == whole.stopped_early


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_run_interrupted_between_any_two_batches_ends_with_the_same_bits(
    optimizer: Optimizer, scheduler: Scheduler | None, tmp_path: Path
) -> None:
    assert_no_interruption_matters(lambda: full_training(optimizer, scheduler), tmp_path)


@pytest.mark.parametrize(
    ("optimizer", "scheduler"), list(zip(OPTIMIZERS, SCHEDULERS[1:], strict=True)), ids=repr
)
def test_so_does_a_run_of_fused_steps(
    optimizer: Optimizer, scheduler: Scheduler, tmp_path: Path
) -> None:
    def fresh() -> Training:
        return full_training(optimizer, scheduler, batch_norm=False)

    assert FusedStep.fits(fresh().model)
    assert not FusedStep.fits(full_training(optimizer, scheduler).model)
    assert_no_interruption_matters(fresh, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"ema_decay": 0.8},
        {"ema_decay": 0.8, "batch_norm": False},
        {"precision": "bfloat16", "batch_norm": False},
        {
            "max_grad_norm": 0.5,
            "class_weights": "balanced",
            "label_smoothing": 0.1,
            "batch_norm": False,
        },
        *(
            {
                "ema_decay": 0.8,
                "batch_norm": False,
                "model": {
                    "members": 3,
                    "member_sharing": sharing,
                    "activation": "mish",
                    "parametric_activation": True,
                    "input_scaling": True,
                },
            }
            for sharing in ("backbone", "nothing")
        ),
    ],
    ids=str,
)
def test_so_does_a_run_with_any_option(options: dict[str, Any], tmp_path: Path) -> None:
    assert_no_interruption_matters(
        lambda: full_training(AdamConfig(lr=0.05), SCHEDULERS[1], **options), tmp_path
    )


@pytest.mark.parametrize("batch_norm", [True, False])
def test_interruptions_in_a_row_change_nothing(batch_norm: bool) -> None:
    def fresh() -> Training:
        return full_training(OPTIMIZERS[1], SCHEDULERS[4], batch_norm=batch_norm, ema_decay=0.8)

    whole = fresh()
    list(whole)
    training = fresh()
    for _ in range(12):
        state = training.state()
        training = fresh()
        training.restore(state)
        run_batches(training, 1)
    assert timeless(training.history) == timeless(whole.history)
    assert same_bits(training.model, whole.model)
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


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_interruption_is_for_good(activation: str) -> None:
    training = blob_training(model={"activation": activation})
    run_batches(training, 2)
    assert list(training) == []
    assert (len(training.history), training.state().values["batch"]) == (0, 2)


def test_data_moves_to_a_device_with_or_without_validation_rows() -> None:
    meta = torch.device("meta")  # the one device besides the CPU that every machine has
    weights = {"train_weights": torch.ones(1), "validation_weights": torch.ones(1)}
    weighted = replace(blob_data(), **weights).to(meta)
    assert {tensor.device for tensor in vars(weighted).values()} == {meta}
    without = blob_data(num_validation=0).to(meta)
    assert (without.validation_features, without.validation_targets) == (None, None)


def test_metrics_are_plain_frozen_values() -> None:
    metrics = EpochMetrics(1, 0.5, None, None, 0.1, 100.0)
    with pytest.raises(AttributeError):
        metrics.epoch = 2


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_every_batch_of_every_epoch_has_a_mask_of_its_own(activation: str) -> None:
    # Of a single row of ones, an input that is dropped leaves its weights without a gradient.
    config = MLPConfig(hidden=(4,), hidden_dropout=0.0, input_dropout=0.5, activation=activation)
    model = MLP(config, in_features=200, out_features=1)
    weight = model.linears[0].weight
    masks: list[Tensor] = []
    data = TrainingData(torch.ones(4, 200), torch.full((4, 1), 10.0))
    training = train(model, data, TrainingConfig(epochs=2, batch_size=1), task="regression")
    with after_each_step(lambda: masks.append(weight.grad.any(dim=0))):
        list(training)
    assert len(masks) == 8
    assert all(0 < mask.sum() < 200 for mask in masks)
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


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_fused_steps_train_as_autograd_does(activation: str) -> None:
    # A step is right to a few dozen roundings, of sums below 100, and with a rate this small twelve
    # steps in a row do not magnify them by more than 100.
    data = blob_data()
    data = replace(
        data,
        train_features=data.train_features.double(),
        validation_features=data.validation_features.double(),
    )
    trained = []
    for input_dropout in (0.0, NO_NOISE):
        config = {"activation": activation, "hidden": (8, 6), "hidden_dropout": [0.5, 0.3]}
        training = blob_training(
            data,
            model={**config, "input_dropout": input_dropout},
            optimizer=SGDConfig(lr=0.1, momentum=0.9),
        )
        assert FusedStep.fits(training.model) == (input_dropout == 0.0)
        trained.append((training, list(training)))
    (one, history), (other, expected) = trained
    for pair in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(*pair, rtol=0, atol=12 * 50 * 100 * 100 * 2.0**-53)
    for metrics, same in zip(history, expected, strict=True):
        assert metrics.train_loss == pytest.approx(same.train_loss, rel=1e-9)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_class_weights_and_smoothing_shape_the_training_loss_and_not_the_validation_loss(
    activation: str,
) -> None:
    options = {"class_weights": (0.2, 1.0, 3.0), "label_smoothing": 0.2}
    config = {"hidden_dropout": 0.0, "activation": activation}
    training = blob_training(model=config, epochs=1, optimizer=SGDConfig(lr=1e-30), **options)
    (metrics,) = training
    features, targets = blobs()
    shaped = training_loss(TrainingConfig(**options), "multiclass", targets=targets, num_outputs=3)(
        training.model(features), targets
    )
    assert metrics.train_loss == pytest.approx(shaped.item(), rel=1e-5)
    assert metrics.validation_loss == validation_loss(training)


def test_balanced_weights_are_those_of_all_training_rows_and_not_of_a_batch() -> None:
    # With a batch of one row, that row's class would else be all there is to balance.
    features, targets = blobs()
    data = TrainingData(features[20:], targets[20:].clamp_max(1))
    options = {"epochs": 1, "optimizer": SGDConfig(lr=1e-30), "class_weights": "balanced"}
    losses = [
        [metrics.train_loss for metrics in blob_training(data, batch_size=size, **options)]
        for size in (1, 40)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def gradient_norms(training: Training) -> list[float]:
    """The norm of every step's gradients, all together."""
    norms: list[float] = []

    def watch() -> None:
        gradients = [p.grad.double().flatten() for p in training.model.parameters()]
        norms.append(torch.cat(gradients).norm().item())

    with after_each_step(watch):
        list(training)
    return norms


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("bound", [0.01, 0.3])
def test_no_steps_gradients_exceed_their_norm(bound: float, activation: str) -> None:
    # A sum of squares of n float32 is off by at most (n + 1) roundings, its root by half of that;
    # a root, a quotient and the products add less than 4.
    optimizer = SGDConfig(lr=0.1, momentum=0.5)
    options = {"model": {"activation": activation}, "optimizer": optimizer}
    training = blob_training(**options, max_grad_norm=bound)
    num_parameters = sum(p.numel() for p in training.model.parameters())
    norms = gradient_norms(training)
    assert len(norms) == 12
    assert max(norms) <= bound * (1 + (num_parameters / 2 + 5) * 2.0**-24)
    assert max(gradient_norms(blob_training(**options))) > 0.3


def test_gradients_are_scaled_down_together() -> None:
    steps = []
    for bound in (None, 0.01):
        training = blob_training(epochs=1, batch_size=60, max_grad_norm=bound)
        list(training)
        gradients = [p.grad.double().flatten() for p in training.model.parameters()]
        steps.append(torch.cat(gradients))
    free, clipped = steps
    wanted = free * (0.01 / free.norm())
    # The roundings of the norm, as above, and the 1e-6 that torch adds to it before it divides.
    off = (len(free) / 2 + 5) * 2.0**-24 + 1e-6 / free.norm().item()
    torch.testing.assert_close(clipped, wanted, rtol=off, atol=0)


def test_gradients_within_the_norm_keep_their_bits() -> None:
    free, bounded = blob_training(), blob_training(max_grad_norm=1e3)
    assert max(gradient_norms(free)) < 1e3
    list(bounded)
    assert same_bits(free.model, bounded.model)


def weights_of_each_step(training: Training) -> list[dict[str, Tensor]]:
    """What the model holds after every step of the run, in float64."""
    seen: list[dict[str, Tensor]] = []

    def watch() -> None:
        state = training.model.state_dict()
        seen.append({name: tensor.detach().double().clone() for name, tensor in state.items()})

    with after_each_step(watch):
        list(training)
    return seen


def assert_is_average(model: MLP, steps: list[dict[str, Tensor]], decay: float) -> None:
    """Each weight and statistic of batch norm is the moving average of what the steps left."""
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue  # the number of batches that batch norm has seen
        average, *rest = [step[name] for step in steps]
        for weights in rest:
            average = decay * average + (1 - decay) * weights
        # In float32 a step adds at most 3 roundings, of which `decay` of the next takes its part.
        largest = max(step[name].abs().max().item() for step in steps)
        bound = 3 * 2.0**-24 * largest / (1 - decay)
        torch.testing.assert_close(tensor.double(), average, rtol=0, atol=bound)


NETWORKS = [{}, {"batch_norm": True}]


@pytest.mark.parametrize("decay", [0.3, 0.8])
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_run_ends_with_the_moving_average_of_the_weights_of_all_steps(
    network: dict[str, Any], decay: float
) -> None:
    plain, averaged = blob_training(model=network), blob_training(model=network, ema_decay=decay)
    steps = weights_of_each_step(plain)
    assert len(steps) == 12
    list(averaged)
    assert_is_average(averaged.model, steps, decay)
    assert not same_bits(averaged.model, plain.model)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_run_settled_in_the_middle_has_the_average_so_far(network: dict[str, Any]) -> None:
    steps = weights_of_each_step(blob_training(model=network))
    for num_batches in (1, 6):
        training = blob_training(model=network, ema_decay=0.8)
        run_batches(training, num_batches)
        training.settle()
        assert_is_average(training.model, steps[:num_batches], 0.8)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_an_average_leaves_the_training_itself_alone(network: dict[str, Any]) -> None:
    plain, averaged = blob_training(model=network), blob_training(model=network, ema_decay=0.8)
    pairs = zip(weights_of_each_step(plain), weights_of_each_step(averaged), strict=True)
    for one, other in pairs:
        assert all(torch.equal(one[name], other[name]) for name in one)
    losses = [[m.train_loss for m in training.history] for training in (plain, averaged)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_validation_is_of_the_average(network: dict[str, Any]) -> None:
    options = {"model": network, "optimizer": SGDConfig(lr=0.5)}
    losses = [metrics.validation_loss for metrics in blob_training(**options, ema_decay=0.8)]
    for epochs in (1, 2, 3):
        shorter = blob_training(**options, ema_decay=0.8, epochs=epochs)
        list(shorter)
        assert validation_loss(shorter) == losses[epochs - 1]
    plain = [metrics.validation_loss for metrics in blob_training(**options)]
    assert all(one != other for one, other in zip(losses, plain, strict=True))


def test_an_average_takes_the_same_columns_and_bins_as_the_model() -> None:
    preprocessing = PreprocessingConfig(
        max_one_hot=20, number_embedding=PiecewiseLinearConfig(kind="piecewise_linear", bins=4)
    )
    inputs = InputLayer(preprocessing, num_values=4, cardinalities=(8, 3), numbers=(1, 3))
    inputs.numbers.fit(torch.tensor([[0.0, 0.0, 1.0], [2.0, 2.0, 2.0]]))
    before = {name: buffer.clone() for name, buffer in inputs.named_buffers()}
    model = MLP(MLPConfig(hidden=(4,)), in_features=6, out_features=2, inputs=inputs)
    features = torch.cat([torch.randn(40, 4), torch.randint(0, 3, (40, 2)).float()], dim=1)
    targets = torch.arange(40) % 2
    data = TrainingData(features, targets, features, targets)
    config = TrainingConfig(epochs=2, batch_size=4, ema_decay=0.9)  # 7 * 0.9 + 7 * 0.1 < 7
    training = train(model, data, config, task="multiclass")
    list(training)  # raises Diverged for bins that are not numbers
    after = dict(training.average.module.inputs.named_buffers())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_early_stopping_ends_with_the_best_average() -> None:
    options = {"epochs": 200, "optimizer": SGDConfig(lr=1.0), "ema_decay": 0.8}
    training = blob_training(**options, early_stopping=EarlyStoppingConfig(patience=4))
    losses = [metrics.validation_loss for metrics in training]
    assert training.stopped_early
    best = losses.index(min(losses))
    assert best == len(losses) - 1 - 4
    shorter = blob_training(**{**options, "epochs": best + 1})
    list(shorter)
    assert same_bits(training.model, shorter.model)


def test_a_run_settled_in_the_middle_has_the_best_weights_that_early_stopping_saw() -> None:
    stopping = EarlyStoppingConfig(patience=100)
    training = blob_training(epochs=30, optimizer=SGDConfig(lr=1.0), early_stopping=stopping)
    run_batches(training, 20 * training.num_batches + 2)
    assert validation_loss(training) != min(m.validation_loss for m in training.history)
    training.settle()
    assert validation_loss(training) == min(m.validation_loss for m in training.history)


def test_a_last_step_that_overflows_is_found_without_a_loss_that_sees_it() -> None:
    data = blob_data(num_rows=16, num_validation=0)
    training = blob_training(data, epochs=1, optimizer=SGDConfig(lr=3e38, momentum=0.9))
    with pytest.raises(Diverged, match="an output became nan in epoch 1"):
        list(training)
    assert training.history[0].train_loss < 100


def test_without_an_average_or_early_stopping_settling_changes_nothing() -> None:
    training = blob_training()
    run_batches(training, 5)
    before = training.state().tensors
    training.settle()
    after = training.state().tensors
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_average_of_weights_within_the_max_norm_is_within_it() -> None:
    network = {"max_norm": 0.5}
    training = blob_training(model=network, optimizer=SGDConfig(lr=1.0), ema_decay=0.8)
    list(training)
    for layer in training.model.linears:
        assert (layer.weight.norm(dim=1) <= 0.5 * (1 + 1e-6)).all()


def rounded_training(precision: str, **options: Any) -> Training:
    model = {"hidden": (8, 6), "hidden_dropout": 0.2, "init": "kaiming_uniform"}
    return blob_training(model=model, precision=precision, **options)


def test_bfloat16_learns_and_a_seed_decides_its_bits() -> None:
    options = {"epochs": 30, "optimizer": AdamConfig(lr=0.02)}
    first, same = (rounded_training("bfloat16", **options) for _ in range(2))
    exact = rounded_training("float32", **options)
    histories = [timeless(list(training)) for training in (first, same, exact)]
    assert histories[0] == histories[1] != histories[2]
    assert same_bits(first.model, same.model)
    assert not same_bits(first.model, exact.model)
    assert first.history[-1].validation_loss < first.history[0].validation_loss * 0.7
    assert all(p.dtype == torch.float32 for p in first.model.parameters())


def test_bfloat16_rounds_the_products_of_hidden_layers_and_nothing_else() -> None:
    # With one row many times over, the order of the rows decides no bit.
    features, targets = blobs(1)
    data = TrainingData(features.repeat(16, 1), targets.repeat(16))
    model = {"hidden": (8, 6), "hidden_dropout": 0.0}
    training = blob_training(data, model=model, precision="bfloat16", epochs=1)
    by_hand = blob_training(data, model=model).model
    first, second, output = by_hand.linears
    hidden = linear_dropout(data.train_features, first.weight, first.bias, 0.0, bfloat16=True)
    hidden = linear_dropout(hidden, second.weight, second.bias, 0.0, bfloat16=True)
    loss = plain_loss("multiclass")(output(hidden), data.train_targets)
    loss.backward()
    (metrics,) = training
    assert metrics.train_loss == pytest.approx(loss.item(), rel=1e-6)
    for one, other in zip(training.model.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_what_bfloat16_has_trained_is_validated_and_used_in_float32() -> None:
    training = rounded_training("bfloat16")
    list(training)
    exact = rounded_training("float32").model
    exact.load_state_dict(training.model.state_dict())
    features = blob_data().validation_features
    assert torch.equal(training.model.eval()(features), exact.eval()(features))
    assert training.history[-1].validation_loss == validation_loss(training)


def test_a_network_that_bfloat16_has_trained_goes_on_in_float32_if_told_so() -> None:
    models = [rounded_training("float32").model for _ in range(2)]
    list(train(models[0], blob_data(), TrainingConfig(precision="bfloat16"), task="multiclass"))
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        list(train(model, blob_data(), TrainingConfig(epochs=1), task="multiclass"))
    assert same_bits(*models)


def test_parameter_groups_have_options_of_their_own() -> None:
    optimizer = SGDConfig(lr=0.1, momentum=0.5)

    def fresh(*, of_output: float) -> Training:
        model = blob_training().model
        groups = [
            {"params": list(model.hidden.parameters())},
            {"params": list(model.output.parameters()), "lr": of_output},
        ]
        config = TrainingConfig(epochs=2, batch_size=16, optimizer=optimizer)
        return train(model, blob_data(), config, task="multiclass", parameter_groups=groups)

    plain = blob_training(epochs=2, optimizer=optimizer)
    same, still = fresh(of_output=0.1), fresh(of_output=0.0)
    for training in (plain, same, still):
        list(training)
    assert same_bits(same.model, plain.model)
    untrained = blob_training().model
    assert torch.equal(still.model.output.weight, untrained.output.weight)
    assert not torch.equal(still.model.linears[0].weight, untrained.linears[0].weight)
    assert [metrics.learning_rate for metrics in still.history] == [0.1, 0.1]


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


@pytest.mark.parametrize("sharing", ["backbone", "nothing"])
def test_members_learn_and_their_average_is_validated(sharing: str) -> None:
    model = {"members": 4, "member_sharing": sharing, "activation": "selu"}
    training = blob_training(model=model, epochs=20, optimizer=AdamConfig(lr=0.02))
    history = list(training)
    assert history[-1].train_loss < history[0].train_loss
    assert history[-1].validation_loss < history[0].validation_loss
    features, targets = training.data.validation_features, training.data.validation_targets
    with torch.no_grad():
        of_members = training.model.eval().of_members(features).double().softmax(dim=2)
    averaged = of_members.mean(dim=1)
    expected = -averaged.gather(1, targets[:, None]).log().mean()
    assert history[-1].validation_loss == pytest.approx(float(expected), rel=1e-6)
    losses = [-p.gather(1, targets[:, None]).log().mean() for p in of_members.unbind(dim=1)]
    assert float(expected) <= float(torch.stack(losses).mean())  # Jensen


def test_members_of_another_task_are_refused() -> None:
    network = MLP(MLPConfig(hidden=(8,), members=2), in_features=4, out_features=3)
    with pytest.raises(ValueError, match="average='probabilities'"):
        Training(network, blob_data(), TrainingConfig(), task=TASK)
