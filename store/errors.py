"""The errors of the store. They carry data; the edges turn them into answers."""


class StoreError(Exception):
    """Base of the errors below."""


class NotFound(StoreError):
    """No such dataset, job, model, name, alias or key, or it belongs to another tenant."""

    noun: str

    def __init__(self, id: str) -> None:  # noqa: A002 - the field's name on the wire
        super().__init__(f"there is no {self.noun} {id!r}")
        self.id = id


class DatasetNotFound(NotFound):
    noun = "dataset"


class JobNotFound(NotFound):
    noun = "job"


class ModelNotFound(NotFound):
    noun = "model"


class NameNotFound(NotFound):
    noun = "model with the name"


class AliasNotFound(NotFound):
    noun = "alias"


class KeyNotFound(NotFound):
    noun = "key"


class DatasetInUse(StoreError):
    def __init__(self, dataset_id: str, needed_by: str) -> None:
        super().__init__(f"dataset {dataset_id!r} is needed by {needed_by}")


class ModelAliased(StoreError):
    def __init__(self, model_id: str, alias: str) -> None:
        super().__init__(f"model {model_id!r} is needed by alias {alias!r}")


class ModelUnloaded(StoreError):
    """The model exists, but is not served until it is loaded again."""

    def __init__(self, model_id: str) -> None:
        super().__init__(f"model {model_id!r} is unloaded")


class QuotaExceeded(StoreError):
    """The tenant has reached a limit."""


class IllegalTransition(StoreError):
    """The job's state does not allow the requested change."""

    def __init__(self, job_id: str, state: str, wanted: str) -> None:
        super().__init__(f"job {job_id!r} is {state}: it cannot be {wanted}")


class SweepNotFound(NotFound):
    noun = "sweep"


class TrialNeeded(StoreError):
    """The job belongs to a sweep, which decides what happens to it."""

    def __init__(self, job_id: str, sweep_id: str) -> None:
        super().__init__(f"job {job_id!r} belongs to sweep {sweep_id!r}: ask it of the sweep")


class IllegalSweepTransition(StoreError):
    """The sweep's state does not allow the requested change."""

    def __init__(self, sweep_id: str, state: str, wanted: str) -> None:
        super().__init__(f"sweep {sweep_id!r} is {state}: it cannot be {wanted}")


class LeaseLost(StoreError):
    """The writing attempt no longer owns the job."""

    def __init__(self, job_id: str, attempt: int) -> None:
        super().__init__(f"attempt {attempt} no longer owns job {job_id!r}")


class StorageUnavailable(OSError):
    """The artifact storage does not answer, or refuses; a later call can succeed."""


class NewerDatabase(StoreError):
    """The database has a schema that this release does not know."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the database is of a newer release (schema {revision!r}): run that release, or "
            "restore a backup of this one"
        )


class ArtifactDamaged(StoreError):
    """A stored file is not what was stored; no retry helps."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the stored file {key!r} is damaged: it does not match its checksum. Restore it from "
            "a backup, or upload its data again"
        )
        self.key = key


class IdempotencyKeyReused(StoreError):
    def __init__(self, key: str) -> None:
        super().__init__(f"Idempotency-Key {key!r} was used before with another request")


class RequestInFlight(StoreError):
    def __init__(self, key: str) -> None:
        super().__init__(f"the first request with Idempotency-Key {key!r} is still in flight")
