"""Where studies are kept: a file or a database, opened or made; what is wrong with it, in a sentence."""

from __future__ import annotations

import importlib.util
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dogbreed.errors import UserError
from dogbreed.sweeps.distributions import num_combinations, proposal_of, to_distributions
from dogbreed.sweeps.engines import GRID, build_inner_sampler, build_pruner
from dogbreed.sweeps.space import MAX_VALUES, Space, Value, grid, parameter_text
from dogbreed.sweeps.study import ABOUT

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage

log = logging.getLogger(__name__)
T = TypeVar("T")

FORMAT = 1
# Trials named in advance, by their place in the queue.
QUEUED = "queued"
# One who makes a study and is not heard of for so long has died at it.
MAKER_S = 15.0
# So long a database may be away before what a trial has come to is given up.
PATIENCE_S = 120.0
SQLITE_WAIT_S = 60


@dataclass(frozen=True)
class StudyPlan:
    """What a study is.

    Args:
        storage: Address of the database.
        name: Of the study in it.
        space: What is searched.
        engine: Who proposes; one of `dogbreed.sweeps.engines.ENGINES`.
        seed: Of the engine.
        engine_options: Further arguments of Optuna's sampler.
        pruner: As `dogbreed.sweeps.engines.pruner_settings` returns it.
        objectives: Metrics that are its values.
        modes: ``max`` or ``min`` for each.
        config: Hash of the configuration that all its trials share.
        default: Values of the first trial; None: the engine's.
    """

    storage: str
    name: str
    space: Space
    engine: str
    seed: int | None
    engine_options: Mapping[str, Any]
    pruner: Mapping[str, Any]
    objectives: Sequence[str]
    modes: Sequence[str]
    config: str
    default: Mapping[str, Value] | None

    @property
    def about(self) -> dict[str, Any]:
        """What the study says of itself, for processes that know only where it is."""
        return {
            "format": FORMAT,
            "fingerprint": {"config": self.config},
            "engine": self.engine,
            "pruner": dict(self.pruner),
            "params": {key: parameter_text(parameter) for key, parameter in self.space.items()},
            "objective": list(self.objectives),
            "modes": list(self.modes),
        }

    def build_sampler(self) -> BaseSampler:
        """Build what proposes values; the grid's have been named."""
        from optuna.samplers import RandomSampler

        from dogbreed.sweeps.sampler import SeededSampler

        if self.engine == GRID:
            return RandomSampler(self.seed)
        build = partial(build_inner_sampler, self.engine, self.engine_options)
        build(0, 0)  # what is wrong with its options is said before any trial
        total = num_combinations(self.space)
        is_finite = total is not None and total <= MAX_VALUES
        return SeededSampler(build, self.seed, to_distributions(self.space), is_finite=is_finite)


def require_optuna() -> None:
    """Raise a UserError if Optuna is not installed; set it to say nothing but warnings."""
    if importlib.util.find_spec("optuna") is None:
        msg = 'A search needs Optuna, which is not installed: pip install "dogbreed[sweep]".'
        raise UserError(msg)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def sqlite_address(file: Path) -> str:
    """Return the address of a study's own file."""
    return f"sqlite:///{file.absolute()}"


def shown(address: str) -> str:
    """Return an address as people may see it: without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(address).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return address


def open_storage(address: str) -> RDBStorage:
    """Open a database, made if it is a file that is not there.

    Args:
        address: As SQLAlchemy has it: ``sqlite:///FILE``, ``postgresql://USER@HOST/NAME``.

    Raises:
        UserError: it cannot be reached, or its driver is missing.
    """
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    is_file = address.startswith("sqlite")
    patience = {"timeout": SQLITE_WAIT_S} if is_file else {"connect_timeout": 10}
    connect_args = patience if is_file or address.startswith(("postgresql", "mysql")) else {}
    if is_file:
        _make_parent(address)
    try:
        return RDBStorage(address, engine_kwargs={"connect_args": connect_args, "pool_pre_ping": not is_file})
    except ImportError as error:
        driver = {"postgresql": "psycopg2-binary", "mysql": "mysqlclient"}.get(address.partition(":")[0], "its driver")
        msg = f"hydra.sweeper.storage={shown(address)} needs a driver ({_first_line(error)}): pip install {driver}."
        raise UserError(msg) from error
    except (SQLAlchemyError, StorageInternalError, OSError, RuntimeError, ValueError) as error:
        msg = (
            f"hydra.sweeper.storage={shown(address)} cannot be reached ({_first_line(error)}): check the address, "
            "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME, or leave it out for a file in the sweep's folder."
        )
        raise UserError(msg) from error


def open_study(plan: StudyPlan) -> Study:
    """Open a study, made if it is not there.

    Of several who come at the same time one makes it, and the others wait until it says what it is.

    Raises:
        UserError: the storage cannot be reached, or the study searches something else.
    """
    import optuna
    from optuna.exceptions import DuplicatedStudyError
    from optuna.study import StudyDirection

    sampler, pruner = plan.build_sampler(), build_pruner(plan.pruner)
    if plan.engine == GRID:
        _check_grid(plan.space)
    storage = open_storage(plan.storage)
    directions = [StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE for mode in plan.modes]
    try:
        study = optuna.create_study(
            storage=storage, study_name=plan.name, directions=directions, sampler=sampler, pruner=pruner
        )
        _make(study, plan)
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=plan.name, sampler=sampler, pruner=pruner)
        if not _is_made(study, plan):
            _make(study, plan)
        _check_same(study, plan)
    return study


def patiently(action: Callable[[], T]) -> T:
    """Do something with a database that may be away for a moment: a trial of hours must not be lost to that.

    Args:
        action: What may be done twice.

    Raises:
        UserError: the database is away for longer than `PATIENCE_S`.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError

    began, pause_s = time.monotonic(), 0.5
    while True:
        try:
            return action()
        except (StorageInternalError, DBAPIError, UserError) as error:
            if isinstance(error, UserError) and not isinstance(error.__cause__, (StorageInternalError, DBAPIError)):
                raise
            if time.monotonic() - began + pause_s > PATIENCE_S:
                msg = (
                    f"The study's storage cannot be reached any more ({_first_line(error)}): see to it and start again."
                )
                raise UserError(msg) from error
            if pause_s == 0.5:
                log.warning("sweep   the study's storage cannot be reached (%s): trying again", _first_line(error))
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 10.0)


def _make(study: Study, plan: StudyPlan) -> None:
    """Name the trials that are known in advance, and then say what the study is."""
    known: list[Mapping[str, Value]] = []
    if plan.engine == GRID:
        known = list(grid(plan.space))
    elif plan.default:
        known = [plan.default]
    queued = {trial.user_attrs.get(QUEUED) for trial in study.get_trials(deepcopy=False)}
    for place, values in enumerate(known):
        if place not in queued:
            proposal = {key: proposal_of(plan.space[key], value) for key, value in values.items()}
            study.enqueue_trial(proposal, user_attrs={QUEUED: place})
    study.set_user_attr(ABOUT, plan.about)


def _is_made(study: Study, plan: StudyPlan) -> bool:
    """Wait until a study says what it is; False if its maker has died before that."""
    seen, began = -1, time.monotonic()
    while ABOUT not in study.user_attrs:
        trials = study.get_trials(deepcopy=False)
        if any(QUEUED not in trial.user_attrs for trial in trials):
            msg = (
                f"Study {plan.name} in {shown(plan.storage)} was not made by dogbreed: choose another name, "
                "hydra.sweeper.study_name=NAME."
            )
            raise UserError(msg)
        if len(trials) > seen:
            seen, began = len(trials), time.monotonic()
        if time.monotonic() - began > MAKER_S:
            return False
        time.sleep(0.2)
    return True


def _check_same(study: Study, plan: StudyPlan) -> None:
    """Refuse a study that searches something else, with the first thing that is different."""
    theirs, mine = study.user_attrs[ABOUT], plan.about
    different = ""
    for key in {**mine["params"], **theirs["params"]}:
        one, other = (params.get(key, "nothing") for params in (theirs["params"], mine["params"]))
        if one != other:
            different = f"{key} goes through {one} there and {other} here"
            break
    for name in ("objective", "modes"):
        if theirs[name] != mine[name] and not different:
            different = f"its {name} is {', '.join(theirs[name])}, not {', '.join(mine[name])}"
    if GRID in (theirs["engine"], mine["engine"]) and theirs["engine"] != mine["engine"]:
        different = different or f"its engine is {theirs['engine']}, not {mine['engine']}"
    if theirs["fingerprint"] != mine["fingerprint"]:
        different = different or "its trials have another configuration"
    if different:
        msg = (
            f"Study {plan.name} in {shown(plan.storage)} searches something else ({different}): choose another name, "
            "hydra.sweeper.study_name=NAME, or another sweep folder."
        )
        raise UserError(msg)


def _check_grid(space: Space) -> None:
    grid(space)
    total = num_combinations(space) or 0
    if total > MAX_VALUES:
        msg = f"The grid has {total} combinations, more than {MAX_VALUES}: leave out values, or use engine=random."
        raise UserError(msg)


def _make_parent(address: str) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        file = make_url(address).database
        if file and file != ":memory:":
            Path(file).parent.mkdir(parents=True, exist_ok=True)
    except (ArgumentError, ValueError, OSError):
        return  # opening it says what is wrong


def _first_line(error: BaseException) -> str:
    text = str(getattr(error, "orig", None) or error.__cause__ or error)
    return (text.strip() or type(error).__name__).splitlines()[0].rstrip(".")
