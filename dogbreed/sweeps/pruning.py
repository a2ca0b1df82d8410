"""A trial that tells its study how it goes, epoch by epoch, and ends early when others went better.

The trial's process knows only where the study is; what the study goes by and who prunes, it says itself.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from dogbreed.distributed import from_main, is_main
from dogbreed.early_end import EarlyEnd
from dogbreed.errors import UserError
from dogbreed.sweeps.heartbeat import REQUEUED_AS

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study

log = logging.getLogger(__name__)

# The study's user attribute in which it says what it is.
ABOUT = "dogbreed"


def build_callbacks(storage: str | None = None, study: str | None = None, number: int | None = None) -> list[Callback]:
    """Build what a trial needs beyond any other run.

    Args:
        storage: Address of the study's database; null: the run is no trial of a search, or cannot reach it.
        study: The study's name.
        number: The trial's number in it, from 0.

    Returns:
        Callbacks for a Trainer; none if a key is null.

    Raises:
        UserError: only some of the keys are given.
    """
    given = {"storage": storage, "study": study, "number": number}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        msg = f"trial.{missing[0]} must be given with the other trial.* keys; a search sets them itself."
        raise UserError(msg)
    if storage is None or study is None or number is None:
        return []
    return [Pruning(storage, study, number)]


class Pruning(Callback):
    """Report the first objective after each epoch that was validated; end training when the study's pruner says so.

    Where the database does not answer, a line says so once, and the trial goes on without being compared. Of several
    ranks, the main one talks to it, and all end together.

    Args:
        storage: Address of the study's database.
        study: The study's name.
        number: The trial's number.
    """

    def __init__(self, storage: str, study: str, number: int) -> None:
        self.early_end: EarlyEnd | None = None
        self._place = (storage, study, number)
        self._contact: _Contact | None = None
        self._is_validated = False
        self._is_silent = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember that this epoch has validation metrics of its own."""
        self._is_validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report, and end training if that is wanted.

        Raises:
            UserError: this trial was taken for dead, and another one has its values.
        """
        is_validated, self._is_validated = self._is_validated, False
        if not is_validated:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()} if is_main() else {}
        # There is nothing to be saved after the last epoch, and somebody else may have ended training already.
        may_end = trainer.current_epoch + 1 != trainer.max_epochs and not trainer.should_stop
        end = from_main(lambda: self._tell(trainer.current_epoch, metrics, may_end=may_end))
        if end is not None:
            self.early_end = end
            trainer.should_stop = True
            if is_main():
                log.info("pruned  %s", end.reason)

    def state_dict(self) -> dict[str, Any]:
        """Keep why training has ended, for a run that goes on after it."""
        return {"early_end": asdict(self.early_end) if self.early_end else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know why training has ended."""
        end = state_dict["early_end"]
        self.early_end = EarlyEnd(**end) if end else None

    def _tell(self, epoch: int, metrics: dict[str, float], *, may_end: bool) -> EarlyEnd | None:
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            self._contact = self._contact or _Contact(*self._place)
            end = self._contact.report(epoch, metrics, may_end=may_end)
        except _TakenForDeadError:
            raise
        except (OptunaError, SQLAlchemyError, UserError, OSError, KeyError) as error:
            if not self._is_silent:
                log.warning("trial   goes on without being compared with others: its study does not answer (%s)",
                            " ".join(str(error).split()))  # fmt: skip
            self._is_silent, self._contact = True, None  # it is looked for again after the next epoch
            return None
        if self._is_silent:
            log.info("trial   is compared with others again")
        self._is_silent = False
        return end


class _TakenForDeadError(UserError):
    """The study has given the trial up."""


class _Contact:
    """A trial in its study.

    Raises:
        KeyError: there is no such study or trial.
        UserError: the database cannot be reached, or the study is none of ours.
    """

    def __init__(self, storage: str, study: str, number: int) -> None:
        import optuna

        from dogbreed.sweeps.database import open_storage
        from dogbreed.sweeps.engines import build_pruner

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study: Study = optuna.load_study(study_name=study, storage=open_storage(storage))
        about = self._study.user_attrs.get(ABOUT)
        if not isinstance(about, dict):
            msg = f"study {study} was not made by a search of ours"
            raise UserError(msg)
        self._objective = str(about["objective"][0])
        self._name = str(about["pruner"]["name"])
        self._pruner: BasePruner | None = None
        if len(about["objective"]) == 1 and self._name != "none":
            self._pruner = build_pruner(about["pruner"])
        self._number = number
        self._storage = self._study._storage  # noqa: SLF001 -- what Optuna's own Trial does
        study_id = self._study._study_id  # noqa: SLF001
        self._id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def report(self, epoch: int, metrics: dict[str, float], *, may_end: bool) -> EarlyEnd | None:
        """Tell the study a value of an epoch, counted from 0 as Optuna's pruners do; return why training is to end."""
        from optuna.exceptions import UpdateFinishedTrialError

        value = metrics.get(self._objective)
        if value is None:
            return None
        try:
            self._storage.set_trial_intermediate_value(self._id, epoch, value)
        except UpdateFinishedTrialError as error:
            attributes = self._storage.get_trial(self._id).user_attrs
            successor = attributes.get(REQUEUED_AS)
            again = f"; trial {successor} has its values now" if successor is not None else ""
            msg = f"Trial {self._number} gave no sign of life for so long that it was taken for dead{again}."
            raise _TakenForDeadError(msg) from error
        if self._pruner is None or not may_end:
            return None
        if not self._pruner.prune(self._study, self._storage.get_trial(self._id)):
            return None
        shown = "no number" if math.isnan(value) else f"{value:.4g}"
        reason = f"after epoch {epoch + 1} {self._objective} is {shown}, too far behind other trials ({self._name})."
        return EarlyEnd(reason)
