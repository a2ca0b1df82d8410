"""Send a tuning job, on the way of every other job (`launch.ship`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from launch.cargo import Cargo
from launch.facts import Facts
from launch.gather import facts_here
from launch.overrides import job_overrides
from launch.plan import Plan
from launch.protocols import JobService
from launch.settings import LaunchSettings
from launch.ship import Choices, Say, SentJob, send
from launch.tuning.plan import make_tuning_plan
from launch.tuning.search import Search, run_overrides
from launch.tuning.warm_start import check_parent

if TYPE_CHECKING:
    from omegaconf import DictConfig


def plan_here(
    cfg: DictConfig, overrides: Sequence[str], search: Search, cargo: Cargo, choices: Choices | None = None
) -> Plan:
    """Plan a tuning job without asking AWS anything.

    Args:
        cfg: Composed from ``conf/tune.yaml``.
        overrides: As typed, without ranges.
        search: What is searched.
        cargo: What travels.
        choices: Group to option, as Hydra knows them.

    Raises:
        UserError: as `make_tuning_plan`.
    """
    return _plan(cfg, overrides, search, cargo, choices, facts_here(LaunchSettings.of(cfg), cargo.facts))


def submit(
    cfg: DictConfig,
    overrides: Sequence[str],
    search: Search,
    folder: Path,
    *,
    choices: Choices | None = None,
    say: Say = lambda _: None,
) -> SentJob:
    """Send a tuning job.

    Args:
        cfg: Composed from ``conf/tune.yaml``.
        overrides: As typed, without ranges.
        search: What is searched.
        folder: Its folder, where ``launch.json`` remembers it before AWS hears of it.
        choices: Group to option, as Hydra knows them.
        say: Told what is being done.

    Raises:
        UserError: it cannot be sent; nothing runs then.
    """
    from launch.aws.tuning_jobs import TuningJobs

    cargo = Cargo.pack(cfg)
    make = partial(_plan, cfg, overrides, search, cargo, choices)
    typed = job_overrides(run_overrides(overrides))
    return send(LaunchSettings.of(cfg), cargo, folder, make, TuningJobs, typed, say, _check_parents)


def _check_parents(jobs: JobService, plan: Plan) -> None:
    """Look at the tuning jobs that this one is to begin with."""
    parents = (plan.request.get("WarmStartConfig") or {}).get("ParentHyperParameterTuningJobs") or ()
    for parent in parents:
        check_parent(plan.request, jobs.describe(parent["HyperParameterTuningJobName"]))


def _plan(
    cfg: DictConfig, overrides: Sequence[str], search: Search, cargo: Cargo, choices: Choices | None, facts: Facts
) -> Plan:
    return make_tuning_plan(
        cfg, overrides, search, facts, choices=choices, pretrained=cargo.pretrained, wheels=cargo.wheels
    )
