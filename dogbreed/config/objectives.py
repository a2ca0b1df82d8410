"""What runs are judged by: by which metrics, and whether more or less of them is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dogbreed.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig

# What a run may be judged by. The test split is no part of it.
OBJECTIVES = (
    *(f"{split}/{name}" for split in ("val", "train") for name in ("acc_top1", "acc_top5", "f1_macro", "loss")),
    "seconds",
    "images_per_second",
    "num_parameters",
)
# Of these less is better.
MINIMIZED = ("loss", "seconds", "num_parameters")


def objectives(cfg: DictConfig) -> list[str]:
    """Return the metrics to go by; the first drives checkpoints.

    Raises:
        UserError: there is none.
    """
    names = [cfg.objective] if isinstance(cfg.objective, str) else list(cfg.objective)
    if not names:
        msg = "objective=[] names no metric: give one, objective=val/acc_top1."
        raise UserError(msg)
    return names


def objective_mode(cfg: DictConfig) -> str:
    """Return ``max`` or ``min``: whether more or less of the first objective is better."""
    if cfg.objective_mode != "auto":
        return str(cfg.objective_mode)
    return _mode_of(objectives(cfg)[0])


def objective_modes(cfg: DictConfig) -> list[str]:
    """Return ``max`` or ``min`` for each objective: the first has `objective_mode`, the others go by their names."""
    return [objective_mode(cfg), *map(_mode_of, objectives(cfg)[1:])]


def _mode_of(name: str) -> str:
    return "min" if name.rpartition("/")[2] in MINIMIZED else "max"


def check_objectives(cfg: DictConfig) -> None:
    """Refuse objectives that no run reports, or that nothing may be chosen by.

    Raises:
        UserError: names the objective and the nearest that there is.
    """
    names = objectives(cfg)
    for name in names:
        if name not in OBJECTIVES:
            leak = (
                "tuning on the test split measures nothing any more"
                if name.startswith("test/")
                else "no run reports it"
            )
            msg = f"objective={name}: {leak}. {did_you_mean(name, OBJECTIVES)}"
            raise UserError(msg)
    if not names[0].startswith("val/"):
        msg = f"objective={names[0]}: the first objective chooses the checkpoint and must be a val/ metric."
        raise UserError(msg)
    if len(set(names)) < len(names):
        msg = f"objective=[{','.join(names)}] names one metric twice."
        raise UserError(msg)
    if cfg.objective_mode not in ("max", "min", "auto"):
        msg = f"objective_mode={cfg.objective_mode} is unknown; use max or min."
        raise UserError(msg)
