"""A whole tuning job, put together from a configuration and given facts, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.errors import UserError
from dogbreed.sweeps.space import parameter_text
from launch import limits
from launch.debugger import WHY_NONE
from launch.facts import Facts
from launch.names import MAX_TUNING_NAME, tuning_name
from launch.plan import Plan, make_plan
from launch.pricing import check_cap
from launch.settings import LaunchSettings
from launch.tuning.request import TUNING_LIMITS, tuning_job
from launch.tuning.search import Search, run_config, run_overrides

if TYPE_CHECKING:
    from omegaconf import DictConfig

ACTION = "CreateHyperParameterTuningJob"


def make_tuning_plan(
    cfg: DictConfig,
    overrides: Sequence[str],
    search: Search,
    facts: Facts,
    *,
    choices: Mapping[str, str | None] | None = None,
    pretrained: Path | str | None = None,
    wheels: Path | str | None = None,
) -> Plan:
    """Put one tuning job together: the plan of one of its jobs, and what is searched.

    Args:
        cfg: Composed from ``conf/tune.yaml``.
        overrides: As typed, without ranges.
        search: What is searched.
        facts: What an account knows, and the code.
        choices: Group to option, as Hydra knows them.
        pretrained: The hub's weights, for jobs without a network.
        wheels: Libraries, likewise.

    Returns:
        The plan; its cost is that of all jobs.

    Raises:
        UserError: as `make_plan`, or the API would refuse the tuning job.
    """
    run = run_config(cfg)
    _refuse_long_name(LaunchSettings.of(run).name)
    plan = make_plan(
        run,
        [override for override in run_overrides(overrides) if override.partition("=")[0] not in search.space],
        facts,
        choices=choices,
        pretrained=pretrained,
        wheels=wheels,
        naming=tuning_name,
    )
    max_epochs = run.trainer.max_epochs
    request = tuning_job(
        plan.request,
        search,
        max_epochs=None if max_epochs is None else int(max_epochs),
    )
    limits.check(request, TUNING_LIMITS)
    cost = replace(plan.cost, num_jobs=search.settings.max_jobs)
    check_cap(cost, plan.settings.max_cost_usd)
    searched = [f"{key}=<{parameter_text(parameter)}>" for key, parameter in search.space.items()]
    notes = [note for note in plan.notes if note != WHY_NONE]  # which says how to get what a tuning job cannot have
    return replace(
        plan,
        request=request,
        overrides=(*plan.overrides, *searched),
        cost=cost,
        action=ACTION,
        notes=(*notes, *_notes(search)),
    )


def _refuse_long_name(name: str | None) -> None:
    """Refuse a ``launch.name`` that would have to be cut.

    Raises:
        UserError: it is too long.
    """
    room = MAX_TUNING_NAME - len("-mmdd-HHMMSS-abcd")
    if name and len(name) > room:
        msg = (
            f"launch.name={name} has {len(name)} characters; a tuning job's name has at most {MAX_TUNING_NAME}, "
            f"the time among them: give at most {room}."
        )
        raise UserError(msg)


def _notes(search: Search) -> list[str]:
    settings = search.settings
    if settings.strategy == "bayesian" and settings.max_parallel * 3 > settings.max_jobs > 1 < settings.max_parallel:
        return [
            f"strategy=bayesian learns from jobs that are over, and with max_parallel={settings.max_parallel} of "
            f"max_jobs={settings.max_jobs} there are few: lower max_parallel, or use strategy=random."
        ]
    return []
