"""What can be wrong with a model. Free of torch, for those who only report it."""


class ModelError(Exception):
    """The files are not a model, or the model cannot keep its promises on this machine."""
