import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dropout_core.config import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    Coslog4Config,
    EarlyStoppingConfig,
    FlatCosineConfig,
    MLPConfig,
    OneCycleConfig,
    PreprocessingConfig,
    SGDConfig,
    StepConfig,
    Task,
    TrainingConfig,
)
from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.mlp import MLP
from dropout_core.training import stack_probe
from dropout_core.training.checkpoint import load_checkpoint, save_checkpoint
from dropout_core.training.loop import Diverged, Training
from dropout_core.training.stack import Stack
from dropout_core.training.stack_cohort import Cohort
from dropout_core.training.state import TrainingState
from dropout_core.training.training_data import TrainingData
from tests.support.training_runs import blob_data, blob_training, same_bits, timeless

DATA = blob_data(num_rows=41, num_validation=20)  # the last batch of an epoch has 9 rows

# What may differ between the members of a stack.
HABITS: list[dict[str, Any]] = [
    {"optimizer": AdamConfig(lr=0.03)},
    {"optimizer": AdamConfig(lr=0.03)},
    {"optimizer": AdamWConfig(lr=0.01), "scheduler": Coslog4Config(name="coslog4")},
    {"optimizer": SGDConfig(lr=0.2), "label_smoothing": 0.1},
    {"optimizer": SGDConfig(lr=0.1, momentum=0.9, nesterov=True), "ema_decay": 0.9},
    {"optimizer": AdamConfig(lr=0.02, weight_decay=0.1), "max_grad_norm": 0.1},
    {"optimizer": SGDConfig(lr=0.3, weight_decay=0.01), "class_weights": (1.0, 2.0, 0.5)},
    {"layer_rates": "ntk", "optimizer": AdamConfig(lr=0.05)},
    {"dropout_schedule": FlatCosineConfig(), "weight_decay_schedule": FlatCosineConfig()},
    {"early_stopping": EarlyStoppingConfig(patience=1, min_delta=0.05), "epochs": 6},
    {"scheduler": CosineConfig(name="cosine"), "model": {"max_norm": 0.5}},
    {"scheduler": StepConfig(name="step", step_size=1), "class_weights": "balanced"},
    {"scheduler": OneCycleConfig(name="one_cycle", max_lr=0.1), "model": {"input_dropout": 0.3}},
    {"model": {"hidden_dropout": 0.5}},
    {"model": {"hidden_dropout": [0.0, 1.0]}},
    {"model": {"hidden_dropout": {"p": 0.4, "scaling": "classic"}, "input_dropout": 0.5}},
]


def member(
    number: int, *, stacked: bool = True, data: TrainingData = DATA, **more: Any
) -> Training:
    """Return the run with the habits of this number, wrapped around, and a seed of its own."""
    habits = {**HABITS[number % len(HABITS)], **more}
    model = {"hidden": (6, 5), "hidden_dropout": 0.3, **habits.pop("model", {})}
    return blob_training(data, model=model, stacked=stacked, seed=number, **habits)


def trained(training: Training) -> Training:
    list(training)
    return training


def interrupted_after(num_batches: int, trainings: Sequence[Training]) -> None:
    """Train the runs as a stack, and interrupt it after that many steps of its cohorts."""
    stack = Stack(trainings)
    steps = 0
    step = Cohort.step

    def counted(self: Cohort, *arguments: Any, **named: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == num_batches:
            stack.interrupt()
        return step(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cohort, "step", counted)
        list(stack)


def is_same_run(first: Training, second: Training) -> bool:
    """Whether everything that two runs remember has the same bits."""
    one, other = first.state(), second.state()
    return (
        same_bits(first.model, second.model)
        and timeless(first.history) == timeless(second.history)
        and one.tensors.keys() == other.tensors.keys()
        and all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
        and _timeless_values(one) == _timeless_values(other)
    )


def _timeless_values(state: TrainingState) -> Any:
    values = {k: v for k, v in state.values.items() if k not in ("history", "seconds")}
    return json.loads(json.dumps(values))  # as a checkpoint has them


@pytest.fixture(scope="module")
def alone() -> list[Training]:
    """Each member, trained in a stack of one."""
    return [trained(member(number)) for number in range(len(HABITS))]


@pytest.mark.parametrize("number", range(len(HABITS)))
def test_a_stacked_run_computes_what_a_plain_one_computes(number: int) -> None:
    # In float64, rounding is far below what any other dropout, loss or step would change.
    tensors = {
        name: t.double() if t.is_floating_point() else t
        for name, t in vars(DATA).items()
        if t is not None
    }
    data = TrainingData(**tensors)
    stacked, plain = (
        trained(member(number, stacked=stacked, data=data)) for stacked in (True, False)
    )
    for mine, other in zip(stacked.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)
    for ours, theirs in zip(stacked.history, plain.history, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-9)
        assert ours.learning_rate == theirs.learning_rate


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(order=st.permutations(range(len(HABITS))), size=st.sampled_from([1, 2, 3, 7, 16]))
def test_a_member_has_its_bits_in_any_company(
    alone: list[Training], order: list[int], size: int
) -> None:
    numbers = order[:size]
    trainings = [member(number) for number in numbers]
    stack = Stack(trainings)
    seen = list(stack)
    assert not stack.errors
    for index, (number, training) in enumerate(zip(numbers, trainings, strict=True)):
        assert is_same_run(training, alone[number])
        epochs = [metrics.epoch for i, metrics in seen if i == index]
        assert epochs == [metrics.epoch for metrics in alone[number].history]


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    order=st.permutations(range(len(HABITS))),
    num_batches=st.integers(1, 8),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_a_member_interrupted_anywhere_goes_on_in_another_stack(
    alone: list[Training],
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    num_batches: int,
    sizes: tuple[int, int],
) -> None:
    first, *others = order[: sizes[0]]
    before = member(first)
    interrupted_after(num_batches, [member(number) for number in others] + [before])
    path = save_checkpoint(tmp_path_factory.mktemp("checkpoints"), before.state())
    again = member(first)
    again.restore(load_checkpoint(path))
    company = [member(number) for number in order[-sizes[1] :] if number != first]
    list(Stack([again, *company]))
    assert is_same_run(again, alone[first])
    for training in company:
        assert same_bits(training.model, alone[training.config.seed].model)


def test_a_checkpoint_of_a_stack_is_that_of_a_plain_run() -> None:
    stacked, plain = member(0), member(0, stacked=False)
    interrupted_after(4, [stacked, member(1)])
    state = stacked.state()
    plain.restore(TrainingState(state.tensors, state.values))
    *_, last = plain
    assert last.epoch == 3
    assert last.train_loss == pytest.approx(trained(member(0)).history[-1].train_loss, rel=1e-4)


def test_members_leave_at_their_limits_and_come_back(alone: list[Training]) -> None:
    trainings = [member(number) for number in range(4)]
    stack = Stack(trainings, limits={0: 1, 2: 2})
    list(stack)
    assert [len(training.history) for training in trainings] == [1, 3, 2, 3]
    stack.limits = {}
    assert {(index, metrics.epoch) for index, metrics in stack} == {(0, 2), (0, 3), (2, 3)}
    assert all(map(is_same_run, trainings, alone))


def test_a_dropped_member_leaves_before_its_next_batch(alone: list[Training]) -> None:
    trainings = [member(number) for number in range(3)]
    stack = Stack(trainings)
    for index, metrics in stack:
        if (index, metrics.epoch) == (2, 1):
            stack.drop(1)
    assert len(trainings[1].history) == 1
    assert is_same_run(trainings[0], alone[0])
    assert is_same_run(trainings[2], alone[2])


def test_a_member_dropped_during_its_last_batch_completes_the_epoch(
    alone: list[Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack([member(number) for number in range(2)])
    steps = iter(range(1, 100))
    step = Cohort.step

    def dropping(self: Cohort, *arguments: Any, **named: Any) -> Any:
        if next(steps) == stack.trainings[0].num_batches:
            stack.drop(0)
        return step(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Cohort, "step", dropping)
        list(stack)
    assert len(stack.trainings[0].history) == 1
    again = member(0)
    again.restore(stack.trainings[0].state())
    assert is_same_run(trained(again), alone[0])
    assert is_same_run(stack.trainings[1], alone[1])


def test_members_with_other_shapes_are_trained_beside_the_others(alone: list[Training]) -> None:
    others = [
        member(1, model={"hidden": (4,)}),
        member(2, model={"batch_norm": True}),
        member(3, stacked=False),
        member(4, batch_size=8),
    ]
    trainings = [member(0), *others]
    list(Stack(trainings))
    assert is_same_run(trainings[0], alone[0])
    again = [
        member(1, model={"hidden": (4,)}),
        member(2, model={"batch_norm": True}),
        member(3, stacked=False),
        member(4, batch_size=8),
    ]
    assert all(is_same_run(mine, trained(other)) for mine, other in zip(others, again, strict=True))


def test_a_member_that_diverges_leaves_the_others_as_they_are(alone: list[Training]) -> None:
    trainings = [member(0), member(1, optimizer=SGDConfig(lr=1e30)), member(2)]
    stack = Stack(trainings)
    list(stack)
    assert stack.errors.keys() == {1}
    assert isinstance(stack.errors[1], Diverged)
    assert is_same_run(trainings[0], alone[0])
    assert is_same_run(trainings[2], alone[2])


def test_where_the_bits_depend_on_the_company_two_are_computed_at_once(
    alone: list[Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(of_two: list[torch.Tensor], of_all: list[torch.Tensor]) -> bool:
        return len(of_all[0]) == len(of_two[0])

    stack_probe._size.cache_clear()
    monkeypatch.setattr(stack_probe, "_all_equal", fails)
    try:
        for count in (1, 3, 4):
            trainings = [member(number) for number in range(count)]
            list(Stack(trainings))
            assert all(map(is_same_run, trainings, alone))
    finally:
        stack_probe._size.cache_clear()


REGRESSIONS: list[dict[str, Any]] = [{}, {"loss": "absolute"}, {"quantiles": (0.1, 0.5, 0.7)}]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("task", "config"),
    [*(("regression", config) for config in REGRESSIONS), ("multilabel", {}), ("binary", {})],
)
def test_every_task_trains_in_a_stack(task: Task, config: dict[str, Any], weighted: bool) -> None:
    stream = torch.Generator().manual_seed(3)
    x = torch.randn(41, 4, generator=stream, dtype=torch.float64)
    y = x[:, :2] + torch.randn(41, 2, generator=stream, dtype=torch.float64)
    targets = {"regression": y, "multilabel": (y > 0).double(), "binary": (y[:, 0] > 0).long()}
    weights = torch.rand(41, generator=stream) if weighted else None
    data = TrainingData(x, targets[task], train_weights=weights)
    num_outputs = 2 * len(config.get("quantiles", "1"))

    def run(seed: int, stacked: bool) -> Training:
        training = TrainingConfig(epochs=3, batch_size=16, seed=seed, stacked=stacked, **config)
        model = MLPConfig(hidden=(6,), activation="tanh" if seed else "logistic")
        network = MLP(model, in_features=4, out_features=num_outputs, seed=seed).double()
        return Training(network, data, training, task=task)

    stacked = [run(0, True), run(1, True), run(1, True)]
    list(Stack(stacked))
    for seed, training in enumerate(stacked[:2]):
        plain = trained(run(seed, False))
        for mine, other in zip(training.model.parameters(), plain.model.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)
    assert is_same_run(stacked[1], stacked[2])


def test_categories_of_one_hot_inputs_train_in_a_stack() -> None:
    config = PreprocessingConfig(unknown_rate=0.2)
    stream = torch.Generator().manual_seed(3)
    codes = torch.randint(0, 4, (41, 2), generator=stream).double()
    x = torch.cat([DATA.train_features.double(), codes], dim=1)
    data = TrainingData(x, DATA.train_targets)

    def run(seed: int, stacked: bool) -> Training:
        inputs = InputLayer(config, num_values=4, cardinalities=[4, 4])
        network = MLP(
            MLPConfig(hidden=(6,)), in_features=6, out_features=3, inputs=inputs, seed=seed
        )
        training = TrainingConfig(epochs=3, batch_size=16, seed=seed, stacked=stacked)
        return Training(network.double(), data, training, task="multiclass")

    stacked = [run(0, True), run(1, True)]
    list(Stack(stacked))
    for seed, training in enumerate(stacked):
        assert is_same_run(training, trained(run(seed, True)))
        plain = trained(run(seed, False))
        for mine, other in zip(training.model.parameters(), plain.model.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)


def test_members_of_tables_of_their_own_train_in_a_stack(alone: list[Training]) -> None:
    copied = replace(DATA, train_features=DATA.train_features.clone())
    trainings = [member(0), member(1, data=copied)]
    list(Stack(trainings))
    assert all(map(is_same_run, trainings, alone))
