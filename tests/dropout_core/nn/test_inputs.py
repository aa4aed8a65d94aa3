import torch
from torch import Generator, Tensor, nn

from dropout_core.config import MLPConfig, PreprocessingConfig
from dropout_core.nn.inputs import InputLayer, category_widths
from dropout_core.nn.mlp import MLP

NARROW, WIDE = 4, 41  # cardinalities, with the unknown category: one-hot and embedded


def make_inputs(**options: object) -> InputLayer:
    """Two values, a narrow category, a wide one and another narrow one."""
    config = PreprocessingConfig(**{"embedding_dim": 3, "unknown_rate": 0.0, **options})
    inputs = InputLayer(config, num_values=2, cardinalities=(NARROW, WIDE, 3))
    for embedding in inputs.embeddings:
        nn.init.normal_(embedding.weight, generator=Generator().manual_seed(0))
    inputs.generator = Generator().manual_seed(1)
    return inputs


def rows(num_rows: int = 64) -> Tensor:
    stream = Generator().manual_seed(2)
    values = torch.randn(num_rows, 2, generator=stream)
    codes = [torch.randint(1, size, (num_rows, 1), generator=stream) for size in (NARROW, WIDE, 3)]
    return torch.cat([values, *codes], dim=1)


def test_a_few_categories_are_one_hot_and_many_are_embedded() -> None:
    inputs, x = make_inputs(), rows()
    out = inputs(x)
    assert out.shape == (64, inputs.out_features) == (64, 2 + NARROW + 3 + 3)
    assert torch.equal(out[:, :2], x[:, :2])
    assert torch.equal(out[:, 2:6], torch.eye(NARROW)[x[:, 2].long()])
    assert torch.equal(out[:, 6:9], torch.eye(3)[x[:, 4].long()])
    assert torch.equal(out[:, 9:], inputs.embeddings[0].weight[x[:, 3].long()])


def test_widths_follow_the_number_of_categories() -> None:
    config = PreprocessingConfig(max_one_hot=16)
    assert category_widths(config, [2, 17, 18, 1001, 10_001]) == [2, 17, 8, 50, 50]
    given = PreprocessingConfig(max_one_hot=0, embedding_dim=4)
    assert category_widths(given, [2, 4, 1000]) == [1, 3, 4]
    assert category_widths(given, [1]) == [1]  # no category but the unknown one


def test_training_makes_known_categories_unknown_at_the_rate() -> None:
    inputs, x = make_inputs(unknown_rate=0.25), rows(20_000)
    out = inputs.train()(x).detach()
    for unknown in (out[:, 2], out[:, 6], (out[:, 9:] == inputs.embeddings[0].weight[0]).all(1)):
        # Five standard deviations of a share of 20,000: false once in 1.7 million runs.
        assert abs(float(unknown.float().mean()) - 0.25) < 5 * (0.25 * 0.75 / 20_000) ** 0.5
    assert torch.equal(out[:, :2], x[:, :2])
    assert torch.equal(inputs.eval()(x), make_inputs().eval()(x))


def test_a_draw_is_a_function_of_the_generator() -> None:
    first, second = (make_inputs(unknown_rate=0.5).train()(rows()) for _ in range(2))
    assert torch.equal(first, second)


def test_dropout_of_embeddings_is_of_embeddings_alone() -> None:
    inputs, x = make_inputs(embedding_dropout=0.5).train(), rows(4000)
    out, plain = inputs(x), make_inputs()(x)
    assert torch.equal(out[:, :9], plain[:, :9])
    dropped = out[:, 9:] == 0
    assert torch.equal(out[:, 9:][~dropped], 2 * plain[:, 9:][~dropped])
    assert abs(float(dropped.float().mean()) - 0.5) < 5 * (0.25 / 12_000) ** 0.5


def test_the_unknown_category_is_trained() -> None:
    inputs = make_inputs(unknown_rate=0.5).train()
    inputs(rows()).sum().backward()
    assert inputs.embeddings[0].weight.grad is not None
    assert (inputs.embeddings[0].weight.grad[0] != 0).all()


def test_a_network_draws_its_embeddings_from_its_seed() -> None:
    def network(seed: int, inputs: InputLayer | None) -> MLP:
        width = 5 if inputs else 12
        return MLP(MLPConfig(), in_features=width, out_features=3, inputs=inputs, seed=seed)

    first, second = (network(4, make_inputs()) for _ in range(2))
    other = network(5, make_inputs())
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not torch.equal(
        first.state_dict()["inputs.embeddings.0.weight"],
        other.state_dict()["inputs.embeddings.0.weight"],
    )
    assert first.linears[0].in_features == 12
    assert first(rows()).shape == (64, 3)
