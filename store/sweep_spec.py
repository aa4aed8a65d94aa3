"""A sweep as submitted: the job whose trials differ, and how they are searched."""

from typing import Annotated, Self

from pydantic import Field

from dropout_core.config import Config, SweepConfig
from store.job_spec import JobSpec, MetadataKey, MetadataValue, Name


class _Head(Config):
    name: Name | None = None
    job: JobSpec


class SweepSpec(SweepConfig, _Head):  # the order of the bases puts `name` and `job` first in JSON
    """The sweep to run. Every field but `job` and `space` has a default.

    - `job`: the base job. A trial is this job with the values of the trial at their pointers.
    - `space`, `sampler`, `pruner`, `objective`, `budget`, `repeats`, `seed`, `max_parallel`,
      `window`: see SweepConfig.
    """

    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16, fail_fast=True)] = (
        Field({})
    )

    @classmethod
    def of_job(cls, job: JobSpec, search: SweepConfig) -> Self:
        """Return the sweep that a job submitted with `tune` stands for."""
        return cls(name=job.name, job=job, metadata=job.metadata, **dict(search))
