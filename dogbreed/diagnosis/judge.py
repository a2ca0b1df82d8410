"""What is done about what rules find."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from dogbreed.diagnosis.lost import has_learned, why_lost
from dogbreed.diagnosis.observations import EpochEnd, Observation
from dogbreed.diagnosis.panel import RulePanel
from dogbreed.early_end import EarlyEnd
from dogbreed.errors import UserError

log = logging.getLogger(__name__)
ACTIONS = ("log", "prune", "stop", "fail")


class Judge:
    """Shows rules what is seen, says what they find first, and does what is wanted about it.

    Args:
        panel: The rules.
        on_issue: ``log`` says it and goes on; ``prune`` ends training that is lost, at the end of an epoch; ``stop``
            ends any; ``fail`` ends the run.

    Raises:
        UserError: there is no such action.
    """

    def __init__(self, panel: RulePanel, on_issue: str) -> None:
        if on_issue not in ACTIONS:
            msg = f"diagnose.on_issue={on_issue} is unknown; use {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}."
            raise UserError(msg)
        self.panel = panel
        self.on_issue = on_issue
        self.has_found = False
        self.has_learned = False
        self._turn = threading.Lock()  # a thread shows what the sampler has seen while training hangs

    @property
    def wants_stop(self) -> bool:
        """Whether training is to end at the next step."""
        return self.has_found and self.on_issue == "stop"

    def why_lost(self, epoch: EpochEnd) -> EarlyEnd | None:
        """Say why training is to end with this epoch, if it is: ``prune`` is wanted, and the run is lost."""
        self.has_learned |= bool(has_learned(epoch))
        if self.on_issue != "prune" or self.has_learned or has_learned(epoch) is None:
            return None
        return why_lost(self.panel, epoch)

    def show(self, seen: Iterable[Observation]) -> list[str]:
        """Let the rules look.

        Returns:
            A sentence for each that finds something for the first time; they were logged.
        """
        sentences: list[str] = []
        with self._turn:
            for observation in seen:
                for name, finding in self.panel.show(observation).items():
                    advice = self.panel.rules[name].advice
                    sentences.append(f"{name}, step {finding.step}: {finding.evidence}. {advice}".rstrip())
                    log.warning("issue   %s", sentences[-1])
        self.has_found |= bool(sentences)
        return sentences
