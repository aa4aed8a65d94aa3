"""Names, versions and aliases on the wire."""

from typing import Annotated, Self

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from app.http.answers import Time
from dropout_core.config import Config
from store import model_names
from store.model_names import MAX_VERSIONS, ModelName

MAX_VERSION = 999_999_999

# It begins with a letter: `NAME@3` is a version.
Alias = Annotated[str, Path(pattern=r"^[a-z][a-z0-9._-]{0,63}$")]

# Of names that can have versions: see store/model_names.py.
AfterName = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f-\x9f/@]+$",
        description="The `last_id` of the previous page, which is a name.",
    ),
]


class AliasRequest(Config):
    """The new version of an alias."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1}]})

    version: Annotated[int, Field(ge=1, le=MAX_VERSION)]


class NameSummary(BaseModel):
    """A name, its newest version, and the versions that its aliases stand for."""

    name: str
    latest_version: int
    aliases: dict[str, int]

    @classmethod
    def of(cls, name: ModelName) -> Self:
        return cls(**vars(name))


class Version(BaseModel):
    """A model of a name; it answers predictions only while it is `served`."""

    version: int
    model: str
    served: bool
    created_at: Time

    @classmethod
    def of(cls, version: model_names.Version) -> Self:
        return cls(**vars(version), model=version.model_id)


class NameAnswer(BaseModel):
    """A name, its newest versions, newest first, and the versions that its aliases stand for."""

    name: str
    versions: list[Version] = Field(max_length=MAX_VERSIONS)
    aliases: dict[str, int]

    @classmethod
    def of(cls, name: ModelName, versions: list[model_names.Version]) -> Self:
        return cls(**vars(name), versions=[Version.of(version) for version in versions])
