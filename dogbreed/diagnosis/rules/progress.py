"""Rules about whether a run comes to anything at all: it hangs, or is another one over again.

Sources of names, parameters and defaults: "List of Debugger built-in rules" in AWS's documentation of SageMaker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from dogbreed.diagnosis.observations import Observation, Setting, Silence, StepLoss
from dogbreed.diagnosis.rule import Finding, Rule
from dogbreed.errors import UserError
from dogbreed.files import read_csv
from dogbreed.run_files import STEPS_CSV

ANY = (0.0, float("inf"))
COUNT = (1, float("inf"))


@dataclass
class StalledTraining(Rule):
    """Fires when a run hangs: no training step and no batch of validation for too long.

    AWS's `stop_training_on_fire` is ``diagnose.on_issue``: ``stop`` and ``fail`` interrupt the run as SIGTERM does.

    Args:
        threshold: Seconds.
    """

    advice: ClassVar[str] = (
        "Look at what that line waits for: a file system (data.root, data.cache), loader processes "
        "(data.num_workers=0 has none), another rank."
    )
    threshold: float = 1800.0
    _step: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        self._require(threshold=ANY)

    def look(self, seen: Observation) -> Finding | None:
        """Look at how long it has been silent; say so once for each silence."""
        if not isinstance(seen, Silence) or seen.seconds <= self.threshold or seen.step == self._step:
            return None
        self._step = seen.step
        where = f", in {seen.where}" if seen.where else ""
        return Finding(seen.step, f"nothing has moved for {seen.seconds:.0f} s{where}", {"seconds": seen.seconds})


@dataclass
class SimilarAcrossRuns(Rule):
    """Fires when the losses of the first steps are those of another run: what was changed has changed nothing.

    Args:
        other_run: The other run's folder, with ``steps.csv`` in it; None has nothing compared.
        num_steps: Steps that are compared.
        rtol: Largest difference of equal losses; ``steps.csv`` holds six digits.

    Raises:
        UserError: the other run has no losses.
    """

    advice: ClassVar[str] = "The two runs compute the same: compare config.yaml of both."
    other_run: str | None = None
    num_steps: int = 20
    rtol: float = 1e-5
    _equal: list[bool] = field(default_factory=list, init=False)
    _others: dict[int, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(num_steps=COUNT, rtol=ANY)
        if self.other_run is None:
            return
        file = Path(self.other_run).expanduser() / STEPS_CSV
        try:
            self._others = {int(row["step"]): float(row["loss"]) for row in read_csv(file)}
        except (KeyError, ValueError, OSError):
            self._others = {}
        if not self._others:
            msg = f"diagnose.rules.similar_across_runs.other_run={self.other_run}: there are no losses in {file}."
            raise UserError(msg)

    def skipped_because(self, setting: Setting) -> str:
        """Say that there is nothing to compare with."""
        return "" if self.other_run else "no run to compare with is named (other_run)"

    def look(self, seen: Observation) -> Finding | None:
        """Compare the loss of each step."""
        if not isinstance(seen, StepLoss) or seen.step not in self._others or len(self._equal) >= self.num_steps:
            return None
        other = self._others[seen.step]
        self._equal.append(abs(seen.loss - other) <= self.rtol * abs(other))
        if len(self._equal) < self.num_steps or not all(self._equal):
            return None
        return Finding(seen.step, f"the losses of {self.num_steps} steps are those of {self.other_run}")
