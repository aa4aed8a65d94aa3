"""What `Predictor.outputs` computes, as one module of torch's.

Shapes: N rows, V values, K codes of categories, C outputs.
"""

from torch import Tensor, nn

from dropout_core.config import Task
from dropout_core.model.saved_model import TabularModel


class WholeModel(nn.Module):
    """A model with its last step, dropout off, in any number of rows.

    Shape: (N, V + K) float64, as `Encoder.encode` gives it -> (N, C) float64: probabilities of the
    classes or labels, or a regression's values in the targets' units.
    """

    def __init__(self, model: TabularModel, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.eval().requires_grad_(False)

    def forward(self, matrix: Tensor) -> Tensor:
        outputs: Tensor = self.model(matrix)
        if self.task == "regression":
            return outputs
        return outputs.sigmoid() if self.task == "multilabel" else outputs.softmax(dim=1)
