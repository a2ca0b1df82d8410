"""How much each parameter matters: worked out from the record, so that it is there for every engine."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError
from dogbreed.sweeps.ranking import first_value
from dogbreed.sweeps.space import LOG, Choice, Real, Whole, parse_parameter

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

# With fewer finished trials it is mostly luck.
MIN_TRIALS = 8


def importance_of(sweep: Mapping[str, Any]) -> dict[str, float] | None:
    """Return each parameter's share in what tells the values of the first objective apart.

    By fANOVA (Hutter et al. 2014): a random forest is fitted to the finished trials, and the variance of what it
    predicts is split between the parameters. Without scikit-learn by PED-ANOVA (Watanabe et al. 2023), which asks in
    which parameters the best tenth differs from all.

    Args:
        sweep: As `dogbreed.sweeps.record.make_record` makes it.

    Returns:
        Shares, 0..1, of sum 1, the largest first. None without Optuna, with fewer than `MIN_TRIALS` finished trials,
        without two parameters that all of them have, or if all values are the same.
    """
    trials = [trial for trial in sweep["trials"] if trial["state"] == "completed" and first_value(trial) is not None]
    keys = [key for key in sweep["params"] if all(key in trial["params"] for trial in trials)]
    keys = [key for key in keys if len({repr(trial["params"][key]) for trial in trials}) > 1]
    if len(trials) < MIN_TRIALS or len({first_value(trial) for trial in trials}) < 2 or not keys:
        return None
    if len(keys) == 1:
        return {keys[0]: 1.0}
    if importlib.util.find_spec("optuna") is None:
        return None
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

    has_forest = importlib.util.find_spec("sklearn") is not None
    evaluator = FanovaImportanceEvaluator(seed=0) if has_forest else PedAnovaImportanceEvaluator()
    study = _study(trials, {key: str(sweep["params"][key]) for key in keys}, sweep["objective_mode"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(study, evaluator=evaluator, params=keys)
    shares = {key: float(share) for key, share in found.items()}
    if not all(map(math.isfinite, shares.values())) or not sum(shares.values()):
        return None
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _study(trials: Sequence[Mapping[str, Any]], texts: Mapping[str, str], mode: str) -> Study:
    """Make a study in memory that has seen the trials."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize" if mode == "max" else "minimize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    distributions = {key: _distribution(key, text, [trial["params"][key] for trial in trials])
                     for key, text in texts.items()}  # fmt: skip
    for trial in trials:
        params = {
            key: value if _is_numeric(distributions[key]) else repr(value)
            for key, value in trial["params"].items()
            if key in distributions
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=first_value(trial)))
    return study


def _distribution(key: str, text: str, values: Sequence[Any]) -> BaseDistribution:
    """Return what values were drawn from, wide enough for those that are there."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    try:
        parameter: Real | Whole | Choice = parse_parameter(key, text)
    except UserError:  # an engine's own way of saying it
        parameter = Choice(())
    is_range = not isinstance(parameter, Choice) or parameter.is_ordered or not parameter.values
    if len(numbers) < len(values) or not is_range:
        return CategoricalDistribution(sorted({repr(value) for value in values}))
    low, high = float(min(numbers)), float(max(numbers))
    is_log = getattr(parameter, "scale", "") == LOG and low > 0
    return FloatDistribution(low, high, log=is_log)


def _is_numeric(distribution: BaseDistribution) -> bool:
    return hasattr(distribution, "low")
