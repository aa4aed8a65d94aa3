"""What all configs share: strict, frozen values, and numbers with bounds."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**53)]  # exact in every JSON parser


class Config(BaseModel):
    """A frozen value. Unknown fields, coerced types, NaN and Infinity are refused.

    Arrays and objects within it stop at their first wrong entry (`fail_fast`): a request may have a
    million, and the cost of refusing it should be small.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def every_value(self) -> dict[str, Any]:
        """Return the config as JSON, with the fields too that `added` leaves out at their default.

        A release that knows these fields reads it as this config, whatever their defaults become.
        """
        written = self.model_dump(mode="json")
        values = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, Config):
                values[name] = value.every_value()
            elif name in written or field.exclude_if is not None:
                values[name] = written.get(name, value)
        return values


def added(default: Any) -> Any:
    """Return a field that values stored by earlier releases lack: its default means the same.

    It is written only where it says more, so that they are written as they were.
    """
    return Field(default, exclude_if=lambda value: value == default)
