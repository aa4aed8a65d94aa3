"""The errors of the library. Does not import torch."""


class DataError(ValueError):
    """The data cannot be used. The text names the row and the column, if they are known.

    `message` is the text without them. `row` counts data rows from 1, without the header. `field`
    names the setting that is wrong, if the data is not.
    """

    def __init__(
        self,
        message: str,
        *,
        row: int | None = None,
        column: str | None = None,
        field: str | None = None,
    ) -> None:
        location = [f"row {row}"] if row is not None else []
        location += [f"column {column!r}"] if column is not None else []
        super().__init__(f"{', '.join(location)}: {message}" if location else message)
        self.message = message
        self.row = row
        self.column = column
        self.field = field

    def shifted(self, by: int) -> "DataError":
        """Return the same error for a table with `by` more rows before these."""
        row = None if self.row is None else self.row + by
        return DataError(self.message, row=row, column=self.column, field=self.field)


class ModelError(Exception):
    """The files are not a model, or the model cannot run correctly on this machine."""


def require_type(value: object, wanted: type, *, name: str, hint: str) -> None:
    """Raise TypeError unless an argument is of the type; `hint` says how to get one."""
    if not isinstance(value, wanted):
        raise TypeError(
            f"{name} has to be of type {wanted.__name__}, not {type(value).__name__}: {hint}"
        )
