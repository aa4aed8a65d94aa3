"""Small models as they are kept, which the tests of keeping and of serving share."""

from typing import Any

import torch
from torch import Generator, Tensor, nn

from dropout_core.config import MLPConfig
from dropout_core.mlp import MLP
from dropout_core.tabular import Description, TabularModel


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def make_model(
    *, num_features: int = 5, num_classes: int | None = 3, **config: Any
) -> tuple[TabularModel, Description]:
    """A model with scales, biases and batch statistics that are not those of a fresh one."""
    network = MLP(
        MLPConfig(**{"hidden": (7,), **config}),
        in_features=num_features,
        out_features=num_classes or 1,
    )
    model = TabularModel(network)
    targets = None if num_classes else 100 + 20 * normal(50, 1, seed=1)
    model.fit_scales(10 + 3 * normal(50, num_features), targets)
    stream = Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, generator=stream)
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, generator=stream)
            nn.init.uniform_(module.running_var, 0.5, 2.0, generator=stream)
    task = "regression" if not num_classes else "binary" if num_classes == 2 else "multiclass"
    description = Description(
        task=task,
        model=network.config,
        target="target",
        features=tuple(f"feature {index}" for index in range(num_features)),
        classes=tuple(f"class {index}" for index in range(num_classes)) if num_classes else None,
        trained_on="somewhere",
    )
    return model, description
