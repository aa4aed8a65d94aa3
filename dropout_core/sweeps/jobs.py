"""How the jobs of a trial are trained: its base job with `space.apply`, one for each repeat."""

from dropout_core.config import MLPConfig, TrainingConfig, can_stack

_NUM_SEEDS = 2**53  # of `config.base.Seed`


def as_repeat(model: MLPConfig, training: TrainingConfig, *, number: int) -> TrainingConfig:
    """Return how the repeat 0, 1, ... of a trial with these configs is trained.

    Its seed is that of the trial + `number`. A network that can be stacked is computed as a stack
    also when it is trained alone, so that its bits do not depend on what is trained with it.
    """
    seed = (training.seed + number) % _NUM_SEEDS
    return training.model_copy(update={"seed": seed, "stacked": can_stack(model, training)})
