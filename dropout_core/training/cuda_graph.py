"""A training step as one CUDA graph: its kernels are captured once and launched together.

A small network's step is dozens of kernels of a few microseconds, and launching them one by one
takes longer than running them. A graph launches them all at once: see "CUDA Graphs" in PyTorch's
notes on CUDA semantics. This is their "Whole-network capture" without the optimizer's step.

Shapes: B rows of a batch, I inputs.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from dropout_core.training.fused_step import Gradients

# PyTorch's notes ask for warm-up steps, so that no library is initialised during capture.
_NUM_WARMUPS = 3

# A replay launches the same kernels as an eager step, so only sums without a fixed order round
# differently. A wrong mask changes a gradient by about its own size.
_TOLERANCE = 1e-3


class GraphedStep:
    """Run `gradients` as a captured graph for batches of `num_rows`, and eagerly for others.

    It is a `fused_step.Gradients` itself: (B, I), targets -> (). The first batch of `num_rows`
    warms up, captures and checks the graph, and leaves the model and the generator as they were.
    Later batches of that size are replays, each with masks drawn anew from `generator`, whose state
    may be read and set at any time. All gradients are written to the same `.grad` tensors. If the
    capture or the check against `gradients` fails, a RuntimeWarning says why and all batches run
    eagerly.

    The graph keeps the memory of one step; the check needs a few copies of the weights and
    gradients for a moment. The graph reads parameters at the addresses of the capture, so they may
    only be changed in place. A replay runs no Python: hooks are not called, and a mode, a
    probability or a generator that is replaced later has no effect.
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
        """Return a graph that agrees with the eager step, or None after a warning."""
        model, generator = self._model, self._generator
        try:
            with _left_as_it_was(model, generator):
                captured = CapturedStep(self._gradients, model, generator, x, targets)
            fault = disagreement(self._gradients, captured, model, generator, x, targets)
        except RuntimeError as error:  # a failed capture raises two: CUDA's is the context
            fault = str(error.__context__ or error).partition("\n")[0]
        if fault is None:
            return captured
        model.zero_grad()  # the gradients lie in the memory of the graph
        warnings.warn(f"training goes on without a CUDA graph: {fault}", RuntimeWarning, 3)
        return None


class CapturedStep:
    """A CUDA graph of `gradients` for batches with the shape of `x`.

    Raises RuntimeError if the step cannot be captured, as on a CPU. The warm-up steps draw masks
    and update the model's buffers as any step does.
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
            raise RuntimeError(f"a CUDA graph needs a GPU, but the batch is on the {x.device.type}")
        self._parameters = list(model.parameters())
        self._x, self._targets = x.clone(), targets.clone()
        with _side_stream(x.device) as stream:
            for _ in range(_NUM_WARMUPS):
                gradients(self._x, self._targets)
            self._graph = torch.cuda.CUDAGraph()
            if torch.__version__ < "2.14":  # compares versions; later ones register it themselves
                self._graph.register_generator_state(generator)
            model.zero_grad()  # the gradients are then allocated in the graph's memory, too
            # `thread_local`: other threads may use the GPU during the capture.
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
        """Move the gradients of an eager step to the tensors that the graph writes."""
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            if gradient is None or parameter.grad is None or parameter.grad is gradient:
                continue
            gradient.copy_(parameter.grad)
            parameter.grad = gradient


def disagreement(
    expected: Gradients, found: Gradients, model: nn.Module, generator: Generator, *batch: Tensor
) -> str | None:
    """Describe how two steps by `found` differ from two by `expected`; None if they agree.

    The second step shows whether a graph draws the same masks again. A step that changes weights is
    refused: a graph would keep the learning rate of its capture. The model and the generator are
    left as they were; `.grad` holds the gradients of the last step.
    """
    with _left_as_it_was(model, generator):
        weights = {name: t.detach().clone() for name, t in model.named_parameters()}
        wanted = [_outcome(expected, model, generator, *batch) for _ in range(2)]
        for name, parameter in model.named_parameters():
            if not torch.allclose(parameter, weights[name], rtol=0.0, atol=0.0, equal_nan=True):
                return f"the step changes {name}, which only the optimizer may do"
    with _left_as_it_was(model, generator):
        for step, outcome in zip(("first", "second"), wanted, strict=True):
            difference = _difference(_outcome(found, model, generator, *batch), outcome)
            if difference is not None:
                return f"in the {step} step, {difference}"
    return None


def _outcome(
    step: Gradients, model: nn.Module, generator: Generator, *batch: Tensor
) -> dict[str, Tensor]:
    """Return copies of the generator's state, the loss, the gradients and the buffers by name."""
    loss = step(*batch)
    gradients = {
        f"the gradient of {name}": parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    tensors = {"the generator's state": generator.get_state(), "the loss": loss, **gradients}
    tensors |= dict(model.named_buffers())
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _difference(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> str | None:
    for name in {**wanted, **found}:
        if name not in found or name not in wanted:
            return f"only one of the two steps has {name}"
        if not _is_close(found[name], wanted[name]):
            return f"{name} differs"
    return None


def _is_close(found: Tensor, wanted: Tensor) -> bool:
    """Return whether integers are equal, and the relative distance of others is small.

    Numbers that are not finite are close to others that are not.
    """
    if not wanted.is_floating_point():
        return torch.equal(found, wanted)
    found, wanted = found.double(), wanted.double()
    if not wanted.isfinite().all():
        return not bool(found.isfinite().all())
    return bool((found - wanted).norm() <= _TOLERANCE * wanted.norm())


@contextmanager
def _side_stream(device: torch.device) -> Iterator[torch.cuda.Stream]:
    """Use another stream, which waits for the current one and which the current one waits for.

    The current stream is restored even if a capture fails, which torch does not do by itself.
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
    """Restore the state of the generator and the model's weights and buffers at the end."""
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
