import hashlib
import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dropout_core.config import SplitConfig
from dropout_core.data.columns import describe
from dropout_core.data.selection import select
from dropout_core.data.splits import (
    Split,
    check_split,
    folds,
    rare_classes,
    split_rows,
    untrained,
)
from dropout_core.errors import DataError

SEEDS = st.integers(0, 2**53 - 1)
FRACTIONS = st.sampled_from([0.0, 0.1, 0.25, 0.4])


def rows_of(num_rows: int) -> pl.DataFrame:
    return pl.DataFrame({"row": range(num_rows)})


def frame_of(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(columns)


def parts(split: Split) -> Iterator[Tensor]:
    yield from (split.train, split.validation, split.test)


def assert_every_row_once(split: Split, num_rows: int) -> None:
    together = torch.cat(list(parts(split)))
    assert sorted(together.tolist()) == list(range(num_rows))
    assert len(split.train)
    for rows in parts(split):
        assert rows.dtype == torch.int64
        assert torch.equal(rows, rows.sort().values)


def assert_sizes(split: Split, num_rows: int, config: SplitConfig) -> None:
    for rows, fraction in ((split.validation, config.validation), (split.test, config.test)):
        assert (len(rows) == 0) == (fraction == 0)
        expected = num_rows * fraction
        assert abs(len(rows) - expected) <= (0.5 if expected >= 0.5 else 1)


@given(
    num_rows=st.integers(10, 500),
    validation=st.floats(0, 0.4),
    test=st.floats(0, 0.4),
    seed=SEEDS,
)
@settings(deadline=None)
def test_parts_are_disjoint_cover_every_row_and_have_the_sizes_asked_for(
    num_rows: int, validation: float, test: float, seed: int
) -> None:
    config = SplitConfig(validation=validation, test=test, seed=seed)
    split = split_rows(rows_of(num_rows), config)
    assert_every_row_once(split, num_rows)
    assert_sizes(split, num_rows, config)


def test_a_seed_decides_the_split() -> None:
    first, same, other = (split_rows(rows_of(1000), SplitConfig(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first.test, same.test)
    assert torch.equal(first.validation, same.validation)
    assert not torch.equal(first.test, other.test)


def test_a_seed_decides_the_same_split_in_every_version() -> None:
    split = split_rows(rows_of(1000), SplitConfig(seed=7))
    digest = hashlib.sha256(torch.cat(list(parts(split))).numpy().tobytes()).hexdigest()
    assert digest == "cbfa4ea8686c5d728f8a3807d7739196f0dd450acf765b733d561add642674a8"
    of_a_frame = split_rows(frame_of(x=range(1000)), SplitConfig(seed=7))
    for rows, same in zip(parts(split), parts(of_a_frame), strict=True):
        assert torch.equal(rows, same)


def test_rows_are_held_out_at_random() -> None:
    # The mean of 1000 of 10,000 places drawn without replacement has a standard deviation of
    # sqrt(10000^2 / 12 / 1000 * 0.9) = 87; 6.11 of those are exceeded with probability 1e-9.
    held_out = split_rows(rows_of(10_000), SplitConfig(validation=0.0)).test
    assert abs(held_out.double().mean() - 4999.5) < 6.11 * 87


def test_rows_of_a_class_are_held_out_at_random() -> None:
    # As above, of the 5000 rows of one class: 500 places, sqrt(5000^2 / 12 / 500 * 0.9) = 61.
    target = torch.arange(2).repeat_interleave(5000)
    config = SplitConfig(kind="stratified", validation=0.0)
    held_out = split_rows(frame_of(x=range(10_000)), config, target=target).test
    assert abs(held_out[held_out < 5000].double().mean() - 2499.5) < 6.11 * 61


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    frame = frame_of(group=[i // 5 for i in range(100)])
    target = torch.arange(100) % 3
    for kind in ("random", "stratified", "grouped"):
        column = "group" if kind == "grouped" else None
        config = SplitConfig(kind=kind, column=column, folds=3)
        split_rows(frame, config, target=target)
        folds(frame, config, target=target)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("num_rows", "validation", "test"), [(0, 0, 0), (1, 0.1, 0), (2, 0.1, 0.1), (3, 0.5, 0.45)]
)
def test_too_few_rows_are_refused(num_rows: int, validation: float, test: float) -> None:
    config = SplitConfig(validation=validation, test=test)
    with pytest.raises(DataError, match=f"{num_rows} rows are too few for this split") as caught:
        split_rows(rows_of(num_rows), config)
    assert caught.value.field == "split"
    with pytest.raises(DataError, match=f"{num_rows} rows are too few for this split"):
        check_split(num_rows, config, [])


def test_one_row_may_be_trained_on() -> None:
    split = split_rows(rows_of(1), SplitConfig(validation=0.0, test=0.0))
    assert split.train.tolist() == [0]


@given(
    counts=st.lists(st.integers(3, 40), min_size=1, max_size=12),
    validation=FRACTIONS,
    test=FRACTIONS,
    seed=SEEDS,
)
@settings(deadline=None)
def test_every_part_has_its_share_of_every_class_to_within_one_row(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    config = SplitConfig(kind="stratified", validation=validation, test=test, seed=seed)
    target = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    target = target[torch.randperm(len(target), generator=torch.Generator().manual_seed(0))]
    num_rows = len(target)
    assume(min(counts) * (1 - validation - test) >= 1.5)  # or a class may not be trained on
    split = split_rows(frame_of(x=range(num_rows)), config, target=target)
    assert_every_row_once(split, num_rows)
    assert_sizes(split, num_rows, config)
    for rows in parts(split):
        found = target[rows].bincount(minlength=len(counts))
        share = torch.tensor(counts).double() * len(rows) / num_rows
        assert (found - share).abs().max() < 1


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    validation=FRACTIONS,
    test=FRACTIONS,
    seed=SEEDS,
)
@settings(deadline=None)
def test_every_class_is_trained_on_however_rare(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    config = SplitConfig(validation=validation, test=test, seed=seed)
    target = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    num_rows, num_classes = len(target), len(counts)
    held_out = sum(max(1, round(num_rows * part)) for part in (validation, test) if part)
    assume(num_rows - held_out >= 1)
    split = split_rows(rows_of(num_rows), config, target=target)
    assert_every_row_once(split, num_rows)
    assert untrained(split.train, target, num_classes=num_classes) == []
    if num_rows - held_out >= num_classes:  # there is a row for each class, so sizes are kept
        assert_sizes(split, num_rows, config)


def test_classes_without_a_training_row_are_found() -> None:
    target = torch.tensor([0, 2, 0, 3])
    assert untrained(torch.tensor([0, 3]), target, num_classes=5) == [1, 2, 4]
    labels = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    assert untrained(torch.tensor([0, 1]), labels, num_classes=2) == [1]


def test_the_kind_is_stratified_for_classes_unless_the_config_says_another() -> None:
    target = torch.tensor([0, 1] * 50)
    frame = rows_of(100)

    def test_rows(kind: Any, target: Tensor | None) -> list[int]:
        return split_rows(frame, SplitConfig(kind=kind), target=target).test.tolist()

    assert test_rows("auto", target) == test_rows("stratified", target)
    assert test_rows("auto", None) == test_rows("random", target) == test_rows("random", None)
    assert test_rows("auto", target) != test_rows("random", target)


def test_a_class_with_fewer_rows_than_parts_is_told() -> None:
    columns = describe(frame_of(y=["no"] * 20 + ["yes"] * 2 + ["so"], x=[0.5] * 23))
    selection = select(columns, target="y", features=["x"])
    assert rare_classes(columns, selection, SplitConfig()) == [
        "the class 'yes' has only 2 rows: it is trained on, but not every held-out part has a row "
        "of it",
        "the class 'so' has only 1 row: it is trained on, but not every held-out part has a row "
        "of it",
    ]
    assert rare_classes(columns, selection, SplitConfig(kind="random")) == []
    assert rare_classes(columns, selection, SplitConfig(validation=0.0, test=0.0)) == []
    assert len(rare_classes(columns, selection, SplitConfig(folds=10))) == 2


@pytest.mark.parametrize("target", [None, torch.zeros(20), torch.zeros(20, 2, dtype=torch.int64)])
def test_only_classes_can_be_stratified(target: Tensor | None) -> None:
    config = SplitConfig(kind="stratified")
    with pytest.raises(DataError, match="a stratified split needs one target with classes"):
        split_rows(frame_of(x=range(20)), config, target=target)
    columns = describe(frame_of(y=[0.5, 1.5] * 10, x=[0.5, 1.5] * 10))
    with pytest.raises(DataError, match="a stratified split needs one target with classes"):
        check_split(20, config, columns, selection=select(columns, target="y"))


@given(
    groups=st.lists(st.integers(0, 12), min_size=5, max_size=120),
    validation=FRACTIONS,
    test=FRACTIONS,
    seed=SEEDS,
)
@settings(deadline=None)
def test_no_group_straddles_and_no_other_group_would_bring_a_part_nearer_to_its_size(
    groups: list[int], validation: float, test: float, seed: int
) -> None:
    assume(len(set(groups)) >= 3)
    config = SplitConfig(
        kind="grouped", column="group", validation=validation, test=test, seed=seed
    )
    split = split_rows(frame_of(group=[f"g{group}" for group in groups]), config)
    assert_every_row_once(split, len(groups))
    members = [{groups[row] for row in rows.tolist()} for rows in parts(split)]
    assert sum(len(part) for part in members) == len(set(groups))
    wanted = {1: max(1, round(len(groups) * validation)), 2: max(1, round(len(groups) * test))}
    for part, fraction in ((1, validation), (2, test)):
        assert bool(members[part]) == (fraction > 0)
        others = [groups.count(group) for group in members[0]]
        if fraction and len(others) > 1 + (part == 2 and validation > 0):
            missing = wanted[part] - sum(groups.count(group) for group in members[part])
            assert all(abs(missing - size) >= abs(missing) for size in others)


def test_large_groups_leave_something_to_train_on() -> None:
    frame = frame_of(group=["all"] * 98 + ["b", "c"])
    split = split_rows(frame, SplitConfig(kind="grouped", column="group"))
    assert [len(rows) for rows in parts(split)] == [98, 1, 1]


def test_groups_are_what_their_values_are_whatever_the_type() -> None:
    numbers = [i // 10 for i in range(100)]
    of_numbers, of_words = (
        split_rows(frame_of(g=values), SplitConfig(kind="grouped", column="g"))
        for values in (numbers, [str(number) for number in numbers])
    )
    assert torch.equal(of_numbers.test, of_words.test)


@given(
    times=st.lists(st.integers(0, 60), min_size=10, max_size=120),
    validation=FRACTIONS,
    test=FRACTIONS,
)
@settings(deadline=None)
def test_parts_follow_each_other_in_time(times: list[int], validation: float, test: float) -> None:
    config = SplitConfig(kind="time", column="when", validation=validation, test=test)
    assume(len(set(times)) >= 3)
    start = datetime(2024, 1, 1)
    split = split_rows(frame_of(when=[start + timedelta(hours=time) for time in times]), config)
    assert_every_row_once(split, len(times))
    present = [[times[row] for row in rows.tolist()] for rows in parts(split) if len(rows)]
    assert len(present) == 1 + (validation > 0) + (test > 0)
    for earlier, later in itertools.pairwise(present):
        assert max(earlier) < min(later)


@given(num_rows=st.integers(10, 120), validation=FRACTIONS, test=FRACTIONS, seed=SEEDS)
@settings(deadline=None, max_examples=50)
def test_times_that_differ_are_cut_into_the_sizes_asked_for(
    num_rows: int, validation: float, test: float, seed: int
) -> None:
    config = SplitConfig(kind="time", column="year", validation=validation, test=test)
    years = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed % 1000))
    split = split_rows(frame_of(year=years.tolist()), config)
    assert_sizes(split, num_rows, config)


def test_a_cut_goes_to_the_nearest_change_of_time() -> None:
    frame = frame_of(day=[1] * 40 + [2] * 37 + [3] * 15 + [4] * 8)
    config = SplitConfig(kind="time", column="day", validation=0.1, test=0.1)
    # 80 and 90 are asked for; time changes at 40, 77 and 92.
    assert [len(rows) for rows in parts(split_rows(frame, config))] == [77, 15, 8]
    config = config.model_copy(update={"validation": 0.05, "test": 0.05})
    assert [len(rows) for rows in parts(split_rows(frame, config))] == [77, 15, 8]


def test_fewer_times_than_parts_are_cut_all_the_same() -> None:
    split = split_rows(frame_of(day=[1] * 20), SplitConfig(kind="time", column="day"))
    assert [len(rows) for rows in parts(split)] == [16, 2, 2]
    assert split.test.tolist() == [18, 19]


def test_a_column_may_say_it_all() -> None:
    words = ["train", "Test", "VAL", " validation", "valid", "TRAIN"]
    frame = frame_of(part=words)
    config = SplitConfig(kind="column", column="part")
    split = split_rows(frame, config)
    assert [rows.tolist() for rows in parts(split)] == [[0, 5], [2, 3, 4], [1]]
    assert check_split(6, config, describe(frame)) == (2, 3)


@pytest.mark.parametrize(
    ("config", "values", "row", "message"),
    [
        (SplitConfig(kind="column", column="c"), ["train", "dev"], 2, "'dev' is none of train"),
        (SplitConfig(kind="column", column="c"), [0, 1], 1, "'?0'? is none of train"),
        (SplitConfig(kind="column", column="c"), ["train", None], 2, "a value is missing"),
        (SplitConfig(kind="grouped", column="c"), [1, None, None], 2, "a value is missing"),
        (SplitConfig(kind="time", column="c"), [None, 1.0], 1, "a value is missing"),
        (SplitConfig(kind="time", column="c"), ["May", "June"], None, "a time has to be a date"),
        (SplitConfig(kind="time", column="c"), [True, False], None, "a time has to be a date"),
        (SplitConfig(kind="grouped", column="c"), [1] * 9 + [2], None, "2 groups are too few"),
        (SplitConfig(kind="grouped", column="d"), [1, 2, 3], None, "the data has no such column"),
    ],
)
def test_a_column_that_does_not_serve_is_refused_with_the_row(
    config: SplitConfig, values: list[Any], row: int | None, message: str
) -> None:
    frame = frame_of(c=values)
    with pytest.raises(DataError, match=message) as caught:
        split_rows(frame, config)
    assert (caught.value.row, caught.value.column) == (row, config.column)
    assert caught.value.field == "split"
    with pytest.raises(DataError) as caught:
        check_split(len(values), config, describe(frame))
    assert (caught.value.column, caught.value.field) == (config.column, "split")


def test_some_rows_are_for_training() -> None:
    config = SplitConfig(kind="column", column="c")
    frame = frame_of(c=["test", "val"])
    with pytest.raises(DataError, match="no row is for training"):
        split_rows(frame, config)
    with pytest.raises(DataError, match="no row is for training"):
        check_split(2, config, describe(frame))


def a_table(num_rows: int, seed: int) -> tuple[pl.DataFrame, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    group, when = (torch.randint(0, 30, (num_rows,), generator=stream) for _ in range(2))
    frame = frame_of(group=group.tolist(), when=when.tolist())
    return frame, torch.arange(num_rows) % 3


KINDS = {"random": None, "stratified": None, "grouped": "group", "time": "when"}


@pytest.mark.parametrize("kind", KINDS)
@given(
    num_rows=st.integers(80, 200),
    num_folds=st.integers(2, 6),
    validation=FRACTIONS,
    test=FRACTIONS,
    seed=SEEDS,
)
@settings(deadline=None, max_examples=25)
def test_folds_hold_out_each_row_that_is_not_for_the_test_once(
    kind: Any, num_rows: int, num_folds: int, validation: float, test: float, seed: int
) -> None:
    config = SplitConfig(
        kind=kind,
        column=KINDS[kind],
        validation=validation,
        test=test,
        folds=num_folds,
        seed=seed,
    )
    frame, target = a_table(num_rows, seed % 1000)
    whole = split_rows(frame, config, target=target)
    not_tested = set(torch.cat([whole.train, whole.validation]).tolist())
    cross_validation = folds(frame, config, target=target)
    assert len(cross_validation) == num_folds
    held_out = torch.cat([fold.test for fold in cross_validation]).tolist()
    assert len(held_out) == len(set(held_out))
    for fold in cross_validation:
        train, validating, tested = (set(rows.tolist()) for rows in parts(fold))
        assert train
        assert tested
        assert bool(validating) == (validation > 0)
        assert not train & validating | train & tested | validating & tested
        assert train | validating | tested <= not_tested
        if kind != "time":
            assert train | validating | tested == not_tested
    if kind == "time":
        assert set(held_out) < not_tested
        assert_windows_expand(cross_validation, frame["when"].to_list())
    else:
        assert set(held_out) == not_tested
    if kind in ("random", "stratified"):
        sizes = [len(fold.test) for fold in cross_validation]
        assert max(sizes) - min(sizes) <= 1
    if kind == "stratified":
        counts = torch.stack([target[fold.test].bincount(minlength=3) for fold in cross_validation])
        assert (counts.max(0).values - counts.min(0).values).max() <= 1
    if kind == "grouped":
        groups = frame["group"].to_list()
        for fold in cross_validation:
            members = [{groups[row] for row in rows.tolist()} for rows in parts(fold)]
            assert sum(len(part) for part in members) == len(set.union(*members))


def assert_windows_expand(cross_validation: list[Split], times: list[int]) -> None:
    before: set[int] = set()
    for fold in cross_validation:
        ordered = [[times[row] for row in rows.tolist()] for rows in parts(fold) if len(rows)]
        for earlier, later in itertools.pairwise(ordered):
            assert max(earlier) < min(later) or len({*earlier, *later}) == 1
        assert max(ordered[-2]) < min(ordered[-1])
        known = {*fold.train.tolist(), *fold.validation.tolist()}
        assert before < known
        before = known


def test_a_seed_decides_the_folds() -> None:
    frame, target = a_table(100, 0)
    for kind, column in (("random", None), ("stratified", None), ("grouped", "group")):
        first, same, other = (
            folds(frame, SplitConfig(kind=kind, column=column, folds=3, seed=seed), target=target)
            for seed in (1, 1, 2)
        )
        for a, b in zip(first, same, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(parts(a), parts(b), strict=True))
        assert any(not torch.equal(a.test, b.test) for a, b in zip(first, other, strict=True))


def test_as_many_folds_as_groups_leave_one_group_out_each() -> None:
    config = SplitConfig(kind="grouped", column="group", validation=0.0, test=0.0, folds=5)
    frame = frame_of(group=list("abcde") * 4)
    held_out = [{row % 5 for row in fold.test.tolist()} for fold in folds(frame, config)]
    assert sorted(map(sorted, held_out)) == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SplitConfig(folds=9, test=0.0), "9 rows are too few for 9 folds"),
        (SplitConfig(kind="grouped", column="g", folds=3), "3 groups are too few"),
    ],
)
def test_too_few_rows_for_the_folds_are_refused(config: SplitConfig, message: str) -> None:
    frame = frame_of(g=[0, 1, 2] * 3, y=["a", "b"] * 4 + ["a"])
    target = torch.tensor([0, 1] * 4 + [0])
    with pytest.raises(DataError, match=message) as caught:
        folds(frame, config, target=target)
    assert caught.value.field == "split"
    columns = describe(frame)
    with pytest.raises(DataError, match=message):
        check_split(9, config, columns, selection=select(columns, target="y"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_check_allows_is_about_what_is_trained_on(kind: Any) -> None:
    frame, target = a_table(200, 0)
    frame = frame.with_columns(y=target.numpy())
    config = SplitConfig(kind=kind, column=KINDS[kind], folds=4)
    columns = describe(frame)
    selection = select(columns, target="y", split=config)
    sizes = check_split(200, config, columns, selection=selection)
    split = split_rows(frame, config, target=target)
    # Of 30 groups, or times, the largest has 14 rows: two cuts are off by half of that each.
    tolerance = 0 if KINDS[kind] is None else 14
    for size, rows in zip(sizes, (split.train, split.validation), strict=True):
        assert abs(size - len(rows)) <= tolerance


def test_the_test_leaves_a_group_for_each_fold() -> None:
    config = SplitConfig(kind="grouped", column="group", validation=0.0, test=0.5, folds=5)
    cross_validation = folds(frame_of(group=list("abcdef") * 4), config)
    assert [len(fold.test) for fold in cross_validation] == [4] * 5
