"""From the keys of ``diagnose`` to the callbacks that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from dogbreed.diagnosis.monitor import Monitor
from dogbreed.diagnosis.profiler import Profiler
from dogbreed.diagnosis.rule import Rule
from dogbreed.errors import UserError
from dogbreed.run_files import DIAGNOSIS_JSON, PROFILE


def build_callbacks(
    folder: Path,
    rules: Mapping[str, Any] | None = None,
    every_n_steps: int = 50,
    system_every_s: float = 2.0,
    on_issue: str = "log",
    *,
    profile: bool = False,
    profile_start_step: int = 10,
    profile_num_steps: int = 10,
    hook: Callback | None = None,
) -> list[Callback]:
    """Build what looks at a run.

    Args:
        folder: The run folder.
        rules: `Rule`s by name, as for `Monitor`; None has nobody watch.
        every_n_steps: As `Monitor`.
        system_every_s: As `Monitor`.
        on_issue: As `Monitor`; ``auto`` is decided by the configuration.
        profile: Write `Profiler`'s files into ``profile/``.
        profile_start_step: As `Profiler`.
        profile_num_steps: As `Profiler`.
        hook: A callback of ``diagnose/hook``.

    Returns:
        Callbacks for a Trainer.

    Raises:
        UserError: an argument is out of range.
    """
    for name, rule in (rules or {}).items():
        if rule is not None and not isinstance(rule, Rule):
            msg = f"diagnose.rules.{name}={rule} is no rule: null leaves it out; a rule is a node with _target_."
            raise UserError(msg)
    callbacks: list[Callback] = [hook] if hook else []
    if rules is not None:
        callbacks.append(Monitor(rules, every_n_steps, system_every_s, on_issue, folder / DIAGNOSIS_JSON))
    if profile:
        callbacks.append(Profiler(folder / PROFILE, profile_start_step, profile_num_steps))
    return callbacks
