"""What the queue carries, in words of our own."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

__all__ = ["Again", "Done", "Handler", "Task", "Verdict"]

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work of one job.

    Attributes
    ----------
    job : the job's key, shared by all its tasks; hexadecimal digits or letters, no colon.
    stage : which handler does it.
    lane : tasks of one lane begin in the order they came (to the second), one after another unless `open_jobs` is told
        otherwise for their stage; lanes are independent.
    payload : what the handler needs; plain JSON values.
    attempt : 1 for the first.
    first_tried_at : seconds since the epoch, when the first attempt was queued; 0 before it is.
    """

    job: str
    stage: str
    lane: str
    payload: Mapping[str, Scalar] = field(default_factory=dict)
    attempt: int = 1
    first_tried_at: float = 0.0

    @property
    def task_id(self) -> str:
        """The durable identity: queueing it twice is queueing it once."""
        return f"{self.job}:{self.stage}:{self.lane}:{self.attempt}"

    def next_attempt(self) -> Self:
        return replace(self, attempt=self.attempt + 1)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"payload": dict(self.payload)}


@dataclass(frozen=True, slots=True)
class Done:
    """The task is finished; ``then`` are queued in the same durable step."""

    then: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """The task has to be tried again; it holds no place in the queue while it waits."""

    delay_s: float


Verdict = Done | Again
Handler = Callable[[Task], Verdict]
