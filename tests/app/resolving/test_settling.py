from typing import Any

import pytest

from app.http.errors import RequestError
from app.resolving.settling import settle
from dropout_core.config import MLPConfig, TrainingConfig, settled
from dropout_core.data.selection import Selection
from store.job_spec import JobSpec
from store.settings import Settings
from tests.support.store_examples import spec

SELECTION = Selection(("y",), {"x": "numeric", "word": "categorical"}, "binary", None, ())


def settled_job(
    selection: Selection = SELECTION,
    *,
    num_validation: int = 10,
    limits: dict[str, Any] | None = None,
    **job: Any,
) -> tuple[JobSpec, list[str]]:
    settings = Settings(**(limits or {}))
    return settle(spec(**job), selection, settings, num_train=100, num_validation=num_validation)


@pytest.mark.parametrize(
    ("job", "preset"),
    [
        ({}, "default"),
        ({"preprocessing": {}, "model": {}, "training": {}}, "default"),
        ({"training": {"seed": 1, "device": "cpu", "max_runtime_seconds": 60}}, "default"),
        ({"optimise_for": "accuracy"}, "default"),
        ({"training": {"epochs": 50}}, "plain"),
        ({"model": {"hidden": [256, 256]}}, "plain"),
        ({"preprocessing": {"scale": "standard"}}, "plain"),
        ({"preset": "best", "model": {"hidden": [8]}}, "best"),
    ],
)
def test_a_job_that_states_nothing_of_its_network_gets_the_default(
    job: dict[str, Any], preset: str
) -> None:
    assert settled_job(**job)[0].preset == preset


def test_a_plain_job_means_what_it_says() -> None:
    training = {"epochs": 3, "early_stopping": {"patience": 2}}
    job, warnings = settled_job(model={"hidden": [8]}, training=training)
    assert job.model == MLPConfig(hidden=(8,))
    stopping = {"patience": 2, "monitor": "loss"}
    assert job.training == TrainingConfig.model_validate(training | {"early_stopping": stopping})
    assert warnings == []


def test_the_preset_knows_the_table() -> None:
    job, _ = settled_job(preset="fast")
    recipe = settled("fast", task="binary", num_rows=100, num_columns=2)
    assert (job.preprocessing, job.model, job.training) == recipe
    words = Selection(("y",), {"word": "categorical"}, "binary", None, ())
    assert settled_job()[0].preprocessing.number_embedding is not None
    assert settled_job(words)[0].preprocessing.number_embedding is None


def test_without_validation_rows_a_preset_says_what_it_leaves_out() -> None:
    job, [warning] = settled_job(num_validation=0)
    assert (job.training.early_stopping, job.training.calibrate) == (None, False)
    assert "no validation rows: the preset default trains to its last epoch" in warning
    assert "and the probabilities" in warning
    assert settled_job(num_validation=0, preset="plain")[1] == []
    training = {"early_stopping": None, "calibrate": False}
    assert settled_job(num_validation=0, preset="best", training=training)[1] == []
    one_of_them = {"early_stopping": None}
    assert settled_job(num_validation=0, preset="best", training=one_of_them)[1] == [
        "there are no validation rows: the probabilities and intervals of the model are not "
        "calibrated"
    ]


def test_a_preset_stays_within_the_limits_of_the_service() -> None:
    job, warnings = settled_job(limits={"max_epochs": 7, "max_batch_size": 16})
    assert (job.training.epochs, job.training.batch_size) == (7, 16)
    epochs, batch_size = warnings
    assert epochs.startswith("epochs is 7, the most that this service allows")
    assert batch_size.startswith("batch_size is 16, ")


def test_a_job_beyond_the_limits_of_the_service_is_refused() -> None:
    with pytest.raises(RequestError, match="8 is more than 7") as caught:
        settled_job(limits={"max_epochs": 7}, preset="fast", training={"epochs": 8})
    assert caught.value.errors[0].pointer == "/training/epochs"


def test_a_goal_that_the_task_does_not_have_is_refused() -> None:
    with pytest.raises(RequestError, match="a binary task can be optimised for") as caught:
        settled_job(optimise_for="mae")
    assert caught.value.errors[0].pointer == "/optimise_for"


def test_values_that_do_not_fit_the_preset_are_refused_where_they_stand() -> None:
    job = spec(preset="fast", model={"hidden": [8], "hidden_dropout": 0.1})
    unfit = job.model_copy(update={"model": job.model.model_copy(update={"hidden": (8, 8)})})
    with pytest.raises(RequestError, match="with the values of the preset fast: 1 drop") as caught:
        settle(unfit, SELECTION, Settings(), num_train=100, num_validation=10)
    assert caught.value.errors[0].pointer == "/model/hidden_dropout"
