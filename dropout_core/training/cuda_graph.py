"""A training step as one CUDA graph: its kernels are captured once and launched together.

A small network's step is dozens of kernels of a few microseconds, and launching them one by one
takes longer than they do. A graph launches them all at once: "CUDA Graphs" in PyTorch's notes on
CUDA semantics, whose "Whole-network capture" this is, but for the optimizer's step.

Shapes: B rows of a batch, I inputs.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from dropout_core.training.fused_step import Gradients

# PyTorch's notes on CUDA graphs ask for some, so that no library is set up during capture.
_NUM_WARMUPS = 3

# A replay launches the kernels that ran eagerly, so what differs is rounding where a kernel adds
# up in no fixed order; another mask changes a part of a gradient of its own size.
_TOLERANCE = 1e-3


class GraphedStep:
    """`gradients` for batches of `num_rows` by a captured graph, for any others as they are.

    A `step.Gradients` itself: (B, I), targets -> (). The first batch of `num_rows` warms up,
    captures and proves the graph, and leaves the model and the generator as they were; from then on
    such batches are replays, each with masks drawn anew from `generator`, whose state may be read
    and set at any time. All gradients land in the same `.grad` tensors. Where the capture fails, or
    the proof that the graph computes what `gradients` computes, a RuntimeWarning says why and
    everything goes on without a graph.

    The graph holds on to the memory of one step; the proof has a few copies of the weights and of
    their gradients for a moment. Parameters are read where they were captured, so they may be
    changed in place only. Nothing that Python does is repeated: hooks are not called, and a mode, a
    probability or a generator that is replaced afterwards is not seen.
    """

    def __init__(
        self, gradients: Gradients, model: nn.Module, generator: Generator, *, num_rows: int
    ) -> None:
        self._gradients = gradients
        self._model = model
        self._generator = generator
        self._num_rows = num_rows
        self._captured: CapturedStep | None = None
        self._may_capture = True

    def __call__(self, x: Tensor, targets: Tensor) -> Tensor:
        if self._may_capture and len(x) == self._num_rows:
            self._may_capture = False
            self._captured = self._capture(x, targets)
        if self._captured is not None and len(x) == self._num_rows:
            return self._captured(x, targets)
        loss = self._gradients(x, targets)
        if self._captured is not None:
            self._captured.take_over_gradients()
        return loss

    def _capture(self, x: Tensor, targets: Tensor) -> "CapturedStep | None":
        """A graph that has proved itself, or None after a warning."""
        model, generator = self._model, self._generator
        try:
            with _left_as_it_was(model, generator):
                captured = CapturedStep(self._gradients, model, generator, x, targets)
            fault = disagreement(self._gradients, captured, model, generator, x, targets)
        except RuntimeError as error:  # torch's own, and CUDA's: a capture that fails has two
            fault = str(error.__context__ or error).partition("\n")[0]
        if fault is None:
            return captured
        model.zero_grad()  # gradients that lie in the memory of the graph
        warnings.warn(f"training goes on without a CUDA graph: {fault}", RuntimeWarning, 3)
        return None


class CapturedStep:
    """A CUDA graph of `gradients` for batches of the shape of this one.

    Raises RuntimeError where the step cannot be captured, as on a CPU. Warming up draws masks and
    updates what the model keeps track of, in the way of so many steps.
    """

    def __init__(
        self,
        gradients: Gradients,
        model: nn.Module,
        generator: Generator,
        x: Tensor,
        targets: Tensor,
    ) -> None:
        if x.device.type != "cuda":
            raise RuntimeError(f"a CUDA graph is of a GPU, but the batch is on the {x.device.type}")
        self._parameters = list(model.parameters())
        self._x, self._targets = x.clone(), targets.clone()
        with _side_stream(x.device) as stream:
            for _ in range(_NUM_WARMUPS):
                gradients(self._x, self._targets)
            self._graph = torch.cuda.CUDAGraph()
            if torch.__version__ < "2.14":  # a comparison of versions: later ones need no telling
                self._graph.register_generator_state(generator)
            model.zero_grad()  # so that the gradients, too, are allocated in the graph's memory
            # Other threads may use the GPU meanwhile: they neither fail nor spoil the capture.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._loss = gradients(self._x, self._targets)
        self._gradients = [parameter.grad for parameter in self._parameters]

    def __call__(self, x: Tensor, targets: Tensor) -> Tensor:
        self._x.copy_(x)
        self._targets.copy_(targets)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._loss.clone()  # the next replay overwrites it

    def take_over_gradients(self) -> None:
        """Move what an eager step has left in `.grad` to where the graph leaves its gradients."""
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            if gradient is None or parameter.grad is None or parameter.grad is gradient:
                continue
            gradient.copy_(parameter.grad)
            parameter.grad = gradient


def disagreement(
    expected: Gradients,
    found: Gradients,
    model: nn.Module,
    generator: Generator,
    x: Tensor,
    targets: Tensor,
) -> str | None:
    """How two steps by `found` differ from two by `expected` from the same state, if they do.

    The second steps are those that would tell a graph that draws the same masks again. A step that
    changes weights is refused, since a graph would not see its learning rate change. The model and
    the generator are left as they were; `.grad` holds the gradients of the last step.
    """
    with _left_as_it_was(model, generator):
        weights = {name: t.detach().clone() for name, t in model.named_parameters()}
        wanted = [_Outcome.of(expected, model, generator, x, targets) for _ in range(2)]
        for name, parameter in model.named_parameters():
            if not torch.allclose(parameter, weights[name], rtol=0.0, atol=0.0, equal_nan=True):
                return f"the step changes {name}, as only an optimizer may"
    with _left_as_it_was(model, generator):
        for step, outcome in zip(("first", "second"), wanted, strict=True):
            difference = _Outcome.of(found, model, generator, x, targets).differs_from(outcome)
            if difference is not None:
                return f"in the {step} step, {difference}"
    return None


@dataclass(frozen=True)
class _Outcome:
    """What a step answers and leaves behind."""

    tensors: dict[str, Tensor]
    generator_state: Tensor

    @classmethod
    def of(
        cls, step: Gradients, model: nn.Module, generator: Generator, x: Tensor, targets: Tensor
    ) -> "_Outcome":
        tensors = {"the loss": step(x, targets)}
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                tensors[f"the gradient of {name}"] = parameter.grad
        tensors |= dict(model.named_buffers())
        return cls({name: t.clone() for name, t in tensors.items()}, generator.get_state())

    def differs_from(self, wanted: "_Outcome") -> str | None:
        if not torch.equal(self.generator_state, wanted.generator_state):
            return "the generator is not where drawing the masks takes it"
        for name in {**wanted.tensors, **self.tensors}:
            if name not in self.tensors or name not in wanted.tensors:
                return f"{name} is there in one case alone"
            if not _is_close(self.tensors[name].double(), wanted.tensors[name].double()):
                return f"{name} is another"
        return None


def _is_close(found: Tensor, wanted: Tensor) -> bool:
    """Whether the distance is small against the length; not finite is as good as not finite."""
    if not wanted.isfinite().all():
        return not bool(found.isfinite().all())
    return bool((found - wanted).norm() <= _TOLERANCE * wanted.norm())


@contextmanager
def _side_stream(device: torch.device) -> Iterator[torch.cuda.Stream]:
    """Work on another stream than the current one, after it and before what comes next there.

    The current stream is so again in the end, which a capture that fails alone does not see to.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    try:
        with torch.cuda.stream(stream):
            yield stream
    finally:
        torch.cuda.current_stream(device).wait_stream(stream)


@contextmanager
def _left_as_it_was(model: nn.Module, generator: Generator) -> Iterator[None]:
    """Put the generator, and the model's weights and buffers, back to where they were before."""
    state = generator.get_state()
    tensors = [*model.parameters(), *model.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        generator.set_state(state)
        with torch.no_grad():
            for tensor, before in zip(tensors, kept, strict=True):
                tensor.copy_(before)
