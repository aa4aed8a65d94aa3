from dropout_core.config import MLPConfig, TrainingConfig
from dropout_core.sweeps.jobs import as_repeat


def test_repeats_differ_by_the_seed() -> None:
    training = TrainingConfig(seed=2**53 - 2, epochs=7)
    repeats = [as_repeat(MLPConfig(), training, number=number) for number in range(3)]
    assert [repeat.seed for repeat in repeats] == [2**53 - 2, 2**53 - 1, 0]
    assert {repeat.epochs for repeat in repeats} == {7}
    for repeat in repeats:
        assert TrainingConfig.model_validate(repeat.every_value()) == repeat


def test_a_network_is_computed_in_a_stack_wherever_it_can_be() -> None:
    on_cpu = TrainingConfig(device="cpu")
    assert as_repeat(MLPConfig(), on_cpu, number=0).stacked
    assert not as_repeat(MLPConfig(batch_norm=True), on_cpu, number=0).stacked
    stacked = TrainingConfig(stacked=True)
    assert not as_repeat(MLPConfig(batch_norm=True), stacked, number=0).stacked
