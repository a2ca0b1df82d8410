"""How a run of several processes fails: with the error of the one that failed first.

When a process goes, the collectives of the others break; what they could report is the connection.
"""

from __future__ import annotations

import json
import traceback
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dogbreed.distributed.world import world
from dogbreed.errors import FinalError, LostError, UserError, sentence_of

if TYPE_CHECKING:
    from torch.distributed import Store


# The special ones first.
SENTENCES = {"lost": LostError, "final": FinalError, "sentence": UserError}


class RankError(Exception):
    """What another rank has failed with; its traceback is a note of this one."""


@dataclass(frozen=True)
class Failure:
    """How a run failed, in words that travel between processes.

    Args:
        rank: Where it happened.
        kind: ``sentence`` for what the user can mend, ``final`` where trying again would not help,
            ``lost`` where training came to nothing, ``traceback`` for our bugs, ``interrupted``.
        text: The error in one piece.
        details: Its traceback.
    """

    rank: int
    kind: str
    text: str
    details: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe this rank's error."""
        rank = world().rank
        if isinstance(error, KeyboardInterrupt):
            return cls(rank, "interrupted", "interrupted")
        if isinstance(error, UserError):
            kind = next(kind for kind, name in SENTENCES.items() if isinstance(error, name))
            return cls(rank, kind, sentence_of(error))
        text = f"{type(error).__name__}: {sentence_of(error)}"
        return cls(rank, "traceback", text, "".join(traceback.format_exception(error)))

    def as_error(self) -> BaseException:
        """Make the error that tells it in another process; `is_echo` knows it."""
        error: BaseException
        if self.kind == "interrupted":
            error = KeyboardInterrupt()
        elif self.kind in SENTENCES:
            error = SENTENCES[self.kind](self.text)
        else:
            error = RankError(f"rank {self.rank}: {self.text}")
            error.add_note(f"\nOn rank {self.rank}:\n{self.details}")
        vars(error)["first_rank"] = self.rank
        return error

    def note(self, store: Store) -> Failure:
        """Leave this failure where every rank finds it, unless another was first; return the first."""
        try:
            return Failure(**json.loads(store.compare_set("failure", "", json.dumps(asdict(self)))))
        except RuntimeError:  # the store went down with the process that kept it
            return self

    @classmethod
    def noted(cls, store: Store) -> Failure | None:
        """Return the first failure of the run, if there is one."""
        return cls(**json.loads(store.get("failure"))) if store.check(["failure"]) else None


def is_echo(error: BaseException) -> bool:
    """Say whether an error only repeats what another rank has told; who starts the ranks is none of them."""
    place = world()
    return place.is_started and getattr(error, "first_rank", place.rank) != place.rank
