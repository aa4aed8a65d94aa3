"""The losses and gradients of all networks of a stack for one batch of each, written by hand.

It computes what `fused_step.FusedStep` computes for each network, up to rounding. What follows a
layer's product is a product with its `slope`: the mask with the scale of dropout, where the unit is
active. Every operation gives each element the same bits in any company, except for the matrix
products, for which `stack_probe` proves it.

Shapes: n networks, B rows of a batch, I inputs and O outputs of a layer, C outputs of a network.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dropout_core.config import FusedActivation
from dropout_core.training.stack_layout import Layout
from dropout_core.training.stack_losses import StackLoss, Targets

_aten = torch.ops.aten
_ROWS = 16  # of float32: 64 bytes in each column


def padded(num_rows: int) -> int:
    """Return the rows that a batch is computed with: its matrices begin at multiples of 64 bytes.

    How a matrix lies in memory may decide how its product is rounded.
    """
    return -(-num_rows // _ROWS) * _ROWS


class StackStep:
    """The step of networks whose parameters are the rows of `parameters` (n, P).

    A call returns the losses (n). It leaves the gradients of the weights in `of_weights`, each
    (n, O, I), and those of the biases in `of_biases`, each (n, O). `sizes` says how many networks
    are computed at once, for each number of padded rows; it divides n.
    """

    def __init__(
        self,
        layout: Layout,
        activation: FusedActivation,
        loss: StackLoss,
        parameters: Tensor,
        *,
        of_biases: Sequence[Tensor],
        sizes: Mapping[int, int],
    ) -> None:
        split, depth = layout.split(parameters), layout.num_layers
        self.of_weights = [
            torch.empty_like(weight, memory_format=torch.contiguous_format)
            for weight in split[:depth]
        ]

        def passes(size: int) -> list[_Pass]:
            parts = [slice(i, i + size) for i in range(0, len(parameters), size)]
            return [
                _Pass(
                    part,
                    weights=[weight[part] for weight in split[:depth]],
                    biases=[bias[part, None] for bias in split[depth:]],
                    of_weights=[weight[part] for weight in self.of_weights],
                    of_biases=[bias[part] for bias in of_biases],
                    activation=activation,
                    loss=loss,
                )
                for part in parts
            ]

        self._passes = {rows: passes(size) for rows, size in sizes.items()}

    @torch.no_grad()
    def __call__(self, x: Tensor, masks: Sequence[Tensor | None], targets: Targets) -> Tensor:
        """Take inputs (n, B, I), their rows padded, and targets of the rows that count.

        For each hidden layer there is its mask with its scale (n, B, O), or None to drop nothing.
        """
        only, *others = passes = self._passes[x.shape[1]]
        if not others:
            return only(x, masks, targets)
        return torch.cat(
            [
                run(
                    x[run.part],
                    [None if mask is None else mask[run.part] for mask in masks],
                    tuple(target[run.part] for target in targets),
                )
                for run in passes
            ]
        )


class _Pass:
    """Forward and backward of networks that are computed at once; it keeps its memory."""

    def __init__(
        self,
        part: slice,
        *,
        weights: list[Tensor],
        biases: list[Tensor],
        of_weights: list[Tensor],
        of_biases: list[Tensor],
        activation: FusedActivation,
        loss: StackLoss,
    ) -> None:
        self.part = part
        self._weights = weights
        self._transposed = [weight.mT for weight in weights]
        self._biases = biases
        self._of_weights = of_weights
        self._of_biases = of_biases
        self._activation = activation
        self._loss = loss
        self._one = torch.ones((), dtype=weights[0].dtype)
        self._memory: list[Tensor] = []  # for each layer its output, and its slope if it is hidden

    def __call__(self, x: Tensor, masks: Sequence[Tensor | None], targets: Targets) -> Tensor:
        if not self._memory:
            self._memory = self._new_memory(x.shape[1])
        memory = self._memory
        inputs, slopes = [x], []
        for layer, (weight, bias) in enumerate(zip(self._transposed, self._biases, strict=True)):
            z = memory[2 * layer]
            torch.baddbmm(bias, inputs[-1], weight, out=z)
            if layer < len(masks):
                slope = memory[2 * layer + 1]
                mask = masks[layer]
                self._activate(z, self._one if mask is None else mask, slope)
                slopes.append(slope)
            inputs.append(z)
        losses, grad = self._loss_and_gradient(inputs.pop(), targets)
        for layer in reversed(range(len(inputs))):
            given = inputs[layer]
            torch.bmm(grad.mT, given, out=self._of_weights[layer])
            torch.sum(grad, dim=1, out=self._of_biases[layer])
            if layer:
                # What the layer before took is no longer needed.
                grad = torch.bmm(grad, self._weights[layer], out=given)
                grad.mul_(slopes[layer - 1])
        return losses

    def _loss_and_gradient(self, outputs: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        """Compute them for the rows that count; the others have the gradient 0."""
        num_rows = targets[0].shape[1]
        if num_rows == outputs.shape[1]:
            return self._loss.step(outputs, targets)
        losses, of_rows = self._loss.step(outputs[:, :num_rows], targets)
        grad = torch.zeros_like(outputs)
        grad[:, :num_rows] = of_rows
        return losses, grad

    def _activate(self, z: Tensor, mask: Tensor, slope: Tensor) -> None:
        """Replace z by the activation times the mask; set the slope of that by z."""
        match self._activation:
            case "relu":
                _aten.threshold_backward.grad_input(mask, z, 0, grad_input=slope)
                z.mul_(slope)
            case "tanh":
                z.tanh_()
                torch.mul(z, z, out=slope)
                slope.neg_().add_(1).mul_(mask)
                z.mul_(mask)
            case "logistic":
                z.neg_().exp_().add_(1).reciprocal_()
                torch.mul(z, z, out=slope)
                slope.neg_().add_(z).mul_(mask)
                z.mul_(mask)

    def _new_memory(self, num_rows: int) -> list[Tensor]:
        memory = []
        for weight in self._weights:
            shape = (len(weight), num_rows, weight.shape[1])
            memory += [weight.new_empty(shape), weight.new_empty(shape)]
        return memory[:-1]
