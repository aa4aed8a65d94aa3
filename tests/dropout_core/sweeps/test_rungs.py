import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.sweeps.rungs import brackets, planned_epochs
from dropout_core.training.feasibility import InfeasibleError
from tests.support.sweeps import sweep_config


def halving(reduction: int = 4, min_epochs: int = 1) -> dict[str, int | str]:
    return {"name": "successive_halving", "reduction": reduction, "min_epochs": min_epochs}


def epochs_of(pruner: object, *, epochs: int, num_trials: int) -> list[tuple[int, ...]]:
    config = sweep_config(pruner=pruner)
    return [each.epochs for each in brackets(config, epochs=epochs, num_trials=num_trials)]


@pytest.mark.parametrize(
    ("pruner", "epochs", "num_trials", "expected"),
    [
        ("none", 50, 10, (50,)),
        (halving(), 64, 64, (1, 4, 16, 64)),
        (halving(), 50, 1000, (1, 4, 13, 50)),
        (halving(min_epochs=2), 64, 64, (4, 16, 64)),
        (halving(min_epochs=13), 50, 64, (13, 50)),
        (halving(2), 5, 64, (1, 2, 3, 5)),
        # No rung but the last has a single trial.
        (halving(), 256, 8, (16, 64, 256)),
        (halving(), 256, 1, (256,)),
    ],
)
def test_rungs_are_parts_of_the_epochs(
    pruner: object, epochs: int, num_trials: int, expected: tuple[int, ...]
) -> None:
    assert epochs_of(pruner, epochs=epochs, num_trials=num_trials) == [expected]


@settings(max_examples=50)
@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 200), st.integers(1, 100))
def test_rungs_differ_begin_late_enough_and_end_with_all_epochs(
    reduction: int, min_epochs: int, more: int, num_trials: int
) -> None:
    needed = max(reduction * (min_epochs - 1) + 1, 2)
    epochs = needed + more
    for name in ("successive_halving", "hyperband"):
        config = sweep_config(pruner={**halving(reduction, min_epochs), "name": name})
        found = brackets(config, epochs=epochs, num_trials=num_trials)
        assert [number for each in found for number in each.members] == list(range(num_trials))
        for each in found:
            assert list(each.epochs) == sorted(set(each.epochs))
            assert each.epochs[-1] == epochs
            assert each.epochs[0] >= min_epochs
        # With fewer epochs there is no second rung.
        with pytest.raises(InfeasibleError, match=f"at least {needed} epochs") as error:
            brackets(config, epochs=needed - 1, num_trials=num_trials)
        assert error.value.field == ("pruner", "min_epochs")


def test_brackets_of_hyperband_have_the_sizes_of_the_paper() -> None:
    # Li et al. 2018, table 1: R = 81 and eta = 3.
    config = sweep_config(pruner="hyperband")
    found = brackets(config, epochs=81, num_trials=81 + 34 + 15 + 8 + 5)
    assert [(each.size, each.epochs[0]) for each in found] == [
        (81, 1),
        (34, 3),
        (15, 9),
        (8, 27),
        (5, 81),
    ]
    # With fewer trials there are fewer brackets, and all that the budget has are divided.
    found = brackets(config, epochs=81, num_trials=32)
    assert [(each.size, each.epochs[0]) for each in found] == [(17, 9), (9, 27), (6, 81)]
    assert [each.size for each in brackets(config, epochs=81, num_trials=1)] == [1]


def test_planned_epochs_count_each_epoch_once() -> None:
    config = sweep_config(pruner=halving(3), repeats=2)
    # 9 trials to 3 epochs, 3 of them to 9, 1 of them to 27.
    assert planned_epochs(config, epochs=27, num_trials=9) == 2 * (9 * 3 + 3 * 6 + 18)
    assert planned_epochs(sweep_config(), epochs=27, num_trials=9) == 9 * 27


def test_epochs_of_the_space_count_with_the_most_that_a_trial_can_have() -> None:
    for parameter, most in (({"choice": [3, 50, 9]}, 50), ({"integer": [10, 40]}, 40)):
        config = sweep_config(space={"/training/epochs": parameter})
        assert planned_epochs(config, epochs=27, num_trials=2) == 2 * most
