from dropout_core.config import MLPConfig, TrainingConfig
from dropout_core.sweeps.jobs import as_trial, trial_job

JOB = {"model": {"hidden": [4]}, "training": {"seed": 3, "epochs": 5}}


def test_repeats_differ_by_the_seed() -> None:
    jobs = [trial_job(JOB, {"/training/epochs": 7}, repeat=repeat) for repeat in range(2)]
    assert [job["training"] for job in jobs] == [{"seed": 3, "epochs": 7}, {"seed": 4, "epochs": 7}]
    assert trial_job({}, {}, repeat=2) == {"training": {"seed": 2}}
    assert trial_job({}, {"/training/seed": 2**53 - 1}, repeat=1) == {"training": {"seed": 0}}
    assert JOB["training"] == {"seed": 3, "epochs": 5}


def test_a_trial_is_computed_in_a_stack_wherever_its_network_can_be() -> None:
    assert as_trial(MLPConfig(), TrainingConfig(device="cpu")).stacked
    assert not as_trial(MLPConfig(batch_norm=True), TrainingConfig(device="cpu")).stacked
    assert not as_trial(MLPConfig(batch_norm=True), TrainingConfig(stacked=True)).stacked
