"""What decides about a graph is tested everywhere; graphs themselves where there is a GPU."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from dropout_core.config import MLPConfig, SGDConfig
from dropout_core.nn.mlp import MLP
from dropout_core.training import cuda_graph
from dropout_core.training.cuda_graph import CapturedStep, GraphedStep, disagreement
from dropout_core.training.fused_step import Gradients, gradients_of
from dropout_core.training.loop import Training
from dropout_core.training.losses import training_loss
from tests.support.tensors import seeded
from tests.support.training_runs import blob_data, blob_training, blobs, same_bits, timeless

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="only a GPU has graphs to capture"
)
GPU = torch.device("cuda")

MODELS: list[dict[str, Any]] = [
    {},
    {"activation": "tanh", "input_dropout": 0.1},
    {"hidden_dropout": 0.0},
    {"batch_norm": True},
    {"hidden_dropout": {"kind": "gaussian", "p": 0.3}},
    {"hidden_dropout": {"kind": "dropconnect", "p": 0.3}},
    {"hidden_dropout": {"kind": "batchwise", "p": 0.4}},  # may turn out not to be captured
]


def step_of(*, device: str = "cpu", **model: Any) -> tuple[Gradients, MLP, Generator]:
    """The step of a network in training mode, the network, and what its masks are drawn from."""
    config = MLPConfig(**{"hidden": (8,), "hidden_dropout": 0.5, **model})
    network = MLP(config, in_features=4, out_features=3).to(device).train()
    stream = Generator(device).manual_seed(7)
    network.use_generator(stream)
    return gradients_of(network, torch.nn.functional.cross_entropy), network, stream


def gradients_in(network: MLP) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters()]


def snapshot(network: MLP, stream: Generator) -> list[Tensor]:
    return [stream.get_state(), *(t.clone() for t in network.state_dict().values())]


def all_equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


# The proof


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_step_agrees_with_itself_and_leaves_no_trace(model: dict[str, Any]) -> None:
    step, network, stream = step_of(**model)
    before = snapshot(network, stream)
    assert disagreement(step, step, network, stream, *blobs(16)) is None
    assert all_equal(snapshot(network, stream), before)


def spoilt_loss(step: Gradients, network: MLP, stream: Generator) -> Gradients:
    return lambda x, targets: step(x, targets) * 1.01


def spoilt_gradient(step: Gradients, network: MLP, stream: Generator) -> Gradients:
    def spoilt(x: Tensor, targets: Tensor) -> Tensor:
        loss = step(x, targets)
        network.output.bias.grad *= 1.01
        return loss

    return spoilt


def missing_gradient(step: Gradients, network: MLP, stream: Generator) -> Gradients:
    def spoilt(x: Tensor, targets: Tensor) -> Tensor:
        loss = step(x, targets)
        network.output.bias.grad = None
        return loss

    return spoilt


def forgotten_buffers(step: Gradients, network: MLP, stream: Generator) -> Gradients:
    def spoilt(x: Tensor, targets: Tensor) -> Tensor:
        kept = [buffer.clone() for buffer in network.buffers()]
        loss = step(x, targets)
        for buffer, before in zip(network.buffers(), kept, strict=True):
            buffer.copy_(before)
        return loss

    return spoilt


def masks_that_are_not_drawn(step: Gradients, network: MLP, stream: Generator) -> Gradients:
    def spoilt(x: Tensor, targets: Tensor) -> Tensor:
        state = stream.get_state()
        loss = step(x, targets)
        stream.set_state(state)
        return loss

    return spoilt


def masks_of_the_first_step(step: Gradients, network: MLP, stream: Generator) -> Gradients:
    """What a graph would do that knows the state at its capture alone."""
    captured = stream.get_state()

    def spoilt(x: Tensor, targets: Tensor) -> Tensor:
        state = stream.get_state()
        stream.set_state(captured)
        loss, gradients = step(x, targets), gradients_in(network)
        stream.set_state(state)
        step(x, targets)  # the generator moves on as it should
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad.copy_(gradient)
        return loss

    return spoilt


FAULTS: dict[Callable[[Gradients, MLP, Generator], Gradients], str] = {
    spoilt_loss: "first step, the loss",
    spoilt_gradient: "first step, the gradient of output.bias",
    missing_gradient: "first step, only one of the two steps has the gradient of output.bias",
    forgotten_buffers: "first step, hidden.0.norm.running_mean",
    masks_that_are_not_drawn: "first step, the generator",
    masks_of_the_first_step: "second step, the loss",
}


@pytest.mark.parametrize("spoil", FAULTS)
def test_the_proof_finds_a_step_that_is_another(
    spoil: Callable[[Gradients, MLP, Generator], Gradients],
) -> None:
    step, network, stream = step_of(batch_norm=spoil is forgotten_buffers)
    before = snapshot(network, stream)
    fault = disagreement(step, spoil(step, network, stream), network, stream, *blobs(16))
    assert fault is not None
    assert FAULTS[spoil] in fault
    assert all_equal(snapshot(network, stream), before)


def descending(step: Gradients, network: MLP) -> Gradients:
    """A step that does the optimizer's work, too."""

    @torch.no_grad()
    def descent(x: Tensor, targets: Tensor) -> Tensor:
        with torch.enable_grad():
            loss = step(x, targets)
        for parameter in network.parameters():
            parameter -= 0.1 * parameter.grad
        return loss

    return descent


def test_a_step_that_changes_the_weights_is_refused_and_taken_back() -> None:
    step, network, stream = step_of()
    before = snapshot(network, stream)
    descent = descending(step, network)
    fault = disagreement(descent, descent, network, stream, *blobs(16))
    assert fault is not None
    assert "the step changes hidden.0.linear.weight" in fault
    assert all_equal(snapshot(network, stream), before)


def test_losses_that_are_not_finite_either_way_agree() -> None:
    step, network, stream = step_of()
    network.output.bias.data.fill_(float("nan"))
    assert disagreement(step, step, network, stream, *blobs(16)) is None


# What is done about it


class StandIn:
    """As a captured step behaves to the outside, without a GPU: gradients have their own places."""

    def __init__(
        self, step: Gradients, network: MLP, stream: Generator, x: Tensor, targets: Tensor
    ) -> None:
        self.num_replays = 0
        self.network = network
        self.step = step
        step(x, targets)  # warming up leaves a trace
        self._parameters = list(network.parameters())
        self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]

    def __call__(self, x: Tensor, targets: Tensor) -> Tensor:
        self.num_replays += 1
        self.network.zero_grad()
        loss = self.step(x, targets)
        self.take_over_gradients()
        return loss

    take_over_gradients = CapturedStep.take_over_gradients


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_full_batches_are_replayed_and_others_are_not(
    model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graph, "CapturedStep", StandIn)
    plain, alone, _ = step_of(**model)
    step, network, stream = step_of(**model)
    graphed = GraphedStep(step, network, stream, num_rows=16)
    places: list[Tensor] | None = None
    for size in (5, 16, 16, 5, 16):
        batch = blobs(size)
        assert torch.equal(graphed(*batch), plain(*batch))
        assert all_equal(gradients_in(network), gradients_in(alone))
        assert same_bits(network, alone)  # the buffers, too
        if graphed._captured is not None:
            here = [parameter.grad for parameter in network.parameters()]
            places = places or here
            assert all(one is other for one, other in zip(here, places, strict=True))
    assert graphed._captured is not None
    assert graphed._captured.num_replays == 2 + 3  # the proof takes two


def test_what_cannot_be_captured_goes_on_without_a_graph_after_one_warning() -> None:
    plain, alone, _ = step_of(batch_norm=True)
    step, network, stream = step_of(batch_norm=True)
    graphed = GraphedStep(step, network, stream, num_rows=16)
    batch = blobs(16)
    with pytest.warns(RuntimeWarning, match="without a CUDA graph: .* is on the cpu") as caught:
        assert torch.equal(graphed(*batch), plain(*batch))
    assert len(caught) == 1
    for _ in range(2):  # a second warning would be an error
        assert torch.equal(graphed(*batch), plain(*batch))
    assert all_equal(gradients_in(network), gradients_in(alone))
    assert same_bits(network, alone)


def test_a_graph_that_is_disproved_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(StandIn):
        def __call__(self, x: Tensor, targets: Tensor) -> Tensor:
            return super().__call__(x, targets) + 1

    monkeypatch.setattr(cuda_graph, "CapturedStep", Wrong)
    plain, _, _ = step_of()
    step, network, stream = step_of()
    graphed = GraphedStep(step, network, stream, num_rows=16)
    with pytest.warns(RuntimeWarning, match="in the first step, the loss differs"):
        assert torch.equal(graphed(*blobs(16)), plain(*blobs(16)))
    assert torch.equal(graphed(*blobs(16)), plain(*blobs(16)))


def test_an_error_of_the_step_itself_is_raised() -> None:
    step, network, stream = step_of()
    graphed = GraphedStep(step, network, stream, num_rows=16)
    features, classes = blobs(16)
    with pytest.warns(RuntimeWarning), pytest.raises(RuntimeError, match="shapes"):
        graphed(features[:, :3], classes)


# Graphs


@pytest.fixture
def warnings_of_fallbacks_allowed() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "training goes on without a CUDA graph")
        yield


def gpu_training(*, graphed: bool = True, **options: Any) -> Training:
    """Three batches of 16 rows and one of 12."""
    training = blob_training(blob_data().to(GPU), **{"epochs": 2, **options})
    loss = training_loss(
        training.config, "multiclass", targets=training.data.train_targets, num_outputs=3
    )
    step = gradients_of(training.model, loss)
    training._gradients = (
        GraphedStep(step, training.model, training.masks, num_rows=16) if graphed else step
    )
    return training


@needs_gpu
@pytest.mark.usefixtures("warnings_of_fallbacks_allowed")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_training_with_a_graph_is_training_without(model: dict[str, Any], precision: str) -> None:
    # Both run the same kernels; what is allowed is rounding where one adds up in no fixed order.
    options = {"model": model, "precision": precision, "optimizer": SGDConfig(lr=0.1)}
    replayed, eager = (gpu_training(graphed=graphed, **options) for graphed in (True, False))
    for one, other in zip(replayed, eager, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-4)
    assert torch.equal(replayed._masks.get_state(), eager._masks.get_state())
    torch.testing.assert_close(
        replayed.model.state_dict(), eager.model.state_dict(), rtol=1e-4, atol=1e-5
    )


@needs_gpu
@pytest.mark.parametrize("model", MODELS[:-1], ids=str)
def test_the_usual_models_are_captured(model: dict[str, Any]) -> None:
    step, network, stream = step_of(device="cuda", **model)
    before = snapshot(network, stream)
    batch = [t.to(GPU) for t in blobs(16)]
    graphed = GraphedStep(step, network, stream, num_rows=16)
    captured = graphed._capture(*batch)
    assert captured is not None
    assert all_equal(snapshot(network, stream), before)


@needs_gpu
def test_every_replay_draws_masks_of_its_own_from_the_generators_state() -> None:
    step, network, stream = step_of(device="cuda")
    graphed = GraphedStep(step, network, stream, num_rows=16)
    batch = [t.to(GPU) for t in blobs(16)]
    start = stream.get_state()
    losses = [float(graphed(*batch)) for _ in range(10)]
    assert len(set(losses)) == 10
    stream.set_state(start)
    assert [float(graphed(*batch)) for _ in range(10)] == losses
    stream.manual_seed(7)
    assert [float(graphed(*batch)) for _ in range(10)] == losses
    stream.set_state(start)
    assert [float(step(*batch)) for _ in range(10)] == pytest.approx(losses, rel=1e-5)


@needs_gpu
def test_a_replay_sees_weights_that_were_changed_in_place() -> None:
    step, network, stream = step_of(device="cuda", hidden_dropout=0.0)
    graphed = GraphedStep(step, network, stream, num_rows=16)
    batch = [t.to(GPU) for t in blobs(16)]
    before = float(graphed(*batch))
    network.load_state_dict({name: t * 2 for name, t in network.state_dict().items()})
    assert float(graphed(*batch)) != before
    assert float(graphed(*batch)) == pytest.approx(float(step(*batch)), rel=1e-5)


@needs_gpu
@pytest.mark.parametrize("model", [{}, {"batch_norm": True}], ids=str)
@pytest.mark.parametrize("num_steps", [1, 3, 4, 6])
def test_a_run_that_is_restored_ends_with_the_same_bits(
    num_steps: int, model: dict[str, Any]
) -> None:
    whole = gpu_training(model=model)
    list(whole)
    interrupted = gpu_training(model=model)
    counter = itertools.count(1)

    def interrupt(_: Optimizer, *__: Any) -> None:
        if next(counter) == num_steps:
            interrupted.interrupt()

    hook = register_optimizer_step_post_hook(interrupt)
    list(interrupted)
    hook.remove()
    resumed = gpu_training(model=model)
    resumed.restore(interrupted.state())
    list(resumed)
    assert same_bits(resumed.model, whole.model)
    assert timeless(resumed.history) == timeless(whole.history)


def asks_the_device(step: Gradients) -> Gradients:
    def asking(x: Tensor, targets: Tensor) -> Tensor:
        loss = step(x, targets)
        return loss if loss.item() > 0 else -loss

    return asking


def counts_in_python(step: Gradients) -> Gradients:
    counter = itertools.count(1)
    return lambda x, targets: step(x, targets) * next(counter)


@needs_gpu
@pytest.mark.parametrize("spoil", [asks_the_device, counts_in_python])
def test_what_a_graph_cannot_do_goes_on_without_one(
    spoil: Callable[[Gradients], Gradients],
) -> None:
    plain, alone, _ = step_of(device="cuda", batch_norm=True)
    step, network, stream = step_of(device="cuda", batch_norm=True)
    graphed = GraphedStep(spoil(step), network, stream, num_rows=16)
    batch = [t.to(GPU) for t in blobs(16)]
    with pytest.warns(RuntimeWarning, match="without a CUDA graph"):
        graphed(*batch)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert not torch.cuda.is_current_stream_capturing()
    plain(*batch)
    for _ in range(2):
        graphed(*batch)
        plain(*batch)
    torch.testing.assert_close(gradients_in(network), gradients_in(alone))
    torch.testing.assert_close(network.state_dict(), alone.state_dict())


@needs_gpu
def test_training_on_a_gpu_uses_a_graph() -> None:
    training = blob_training(blob_data().to(GPU), epochs=1)
    list(training)
    assert isinstance(training._gradients, GraphedStep)
    assert training._gradients._captured is not None


def test_training_on_a_cpu_does_not() -> None:
    assert not isinstance(blob_training()._gradients, GraphedStep)


def test_a_generator_is_the_callers_to_name() -> None:
    """The proof looks at the generator that it is given, and at no other."""
    step, network, _ = step_of()
    assert disagreement(step, step, network, seeded(), *blobs(16)) is not None
