"""The search space in Optuna's words and back: nothing is lost, types least of all."""

import json

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from dogbreed.errors import UserError
from dogbreed.sweeps.distributions import (
    from_distribution,
    num_combinations,
    proposal_of,
    suggest,
    to_distribution,
    to_distributions,
    value_of,
    values_of,
)
from dogbreed.sweeps.space import Choice, Real, Whole, parse_parameter, parse_space, value_text

FINITE = {"allow_nan": False, "allow_infinity": False}
plain_values = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(**FINITE, width=32), st.text(max_size=8)
)
choices = st.lists(plain_values, min_size=1, max_size=6, unique_by=value_text).map(lambda one: Choice(tuple(one)))


@st.composite
def intervals(draw):
    scale = draw(st.sampled_from(["linear", "log"]))
    if draw(st.booleans()):
        low = draw(st.integers(1 if scale == "log" else -1000, 1000))
        return Whole(low, low + draw(st.integers(1, 1000)), scale)
    low = draw(st.floats(1e-9 if scale == "log" else -1e6, 1e6, **FINITE))
    return Real(low, low + abs(low) * draw(st.floats(0.01, 10)) + 1e-6, scale)


def through_json(distribution):
    """What a database gives back."""
    return optuna.distributions.json_to_distribution(optuna.distributions.distribution_to_json(distribution))


@given(intervals())
def test_intervals_come_back(parameter):
    assert from_distribution(through_json(to_distribution("key", parameter))) == parameter


@given(choices)
def test_lists_come_back_with_their_types(parameter):
    back = from_distribution(through_json(to_distribution("key", parameter)))
    assert [value_text(one) for one in back.values] == [value_text(one) for one in parameter.values]
    assert [type(one) for one in back.values] == [type(one) for one in parameter.values]


@given(choices)
def test_each_value_of_a_list_is_told_from_the_others(parameter):
    distribution = to_distribution("key", parameter)
    for value in parameter.values:
        internal = distribution.to_internal_repr(proposal_of(parameter, value))
        proposed = json.loads(json.dumps(distribution.to_external_repr(internal)))
        assert value_text(value_of(parameter, proposed)) == value_text(value)


@given(st.integers(-50, 50), st.integers(2, 30), st.integers(2, 9), st.booleans())
def test_ranges_of_whole_numbers_keep_their_order_and_values(start, count, step, is_descending):
    values = tuple(range(start, start + count * step, step))
    parameter = Choice(values[::-1] if is_descending else values, is_ordered=True)
    distribution = to_distribution("key", parameter)
    assert isinstance(distribution, IntDistribution)
    assert from_distribution(distribution).values == values
    assert [value_of(parameter, value) for value in values] == list(values)


@pytest.mark.parametrize("text", ["range(0.1, 0.45, 0.1)", "range(0, 1, 0.05)", "range(1e-4, 1e-3, 1e-4)"])
def test_ranges_of_numbers_mean_what_is_written(text):
    parameter = parse_parameter("key", text)
    distribution = to_distribution("key", parameter)
    assert isinstance(distribution, FloatDistribution)
    assert from_distribution(distribution) == parameter
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    seen = {value_of(parameter, suggest(study.ask(), "key", distribution)) for _ in range(60)}
    assert seen <= set(parameter.values)
    assert len(seen) > 2


def test_a_step_that_is_no_decimal_number_is_a_list():
    parameter = parse_parameter("key", "range(0, 1, 0.3333333333333333)")
    assert isinstance(to_distribution("key", parameter), CategoricalDistribution)


def test_twins_are_told_apart_in_a_study(tmp_path):
    space = parse_space({"a": "choice(1, true, 1.0, '1', '=1')"})
    distributions = to_distributions(space)
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/s.db")
    for value in space["a"].values:
        study.enqueue_trial({"a": proposal_of(space["a"], value)})
        trial = study.ask()
        suggest(trial, "a", distributions["a"])
        (back,) = values_of(space, study.trials[-1].params).values()
        assert (type(back), back) == (type(value), value)


def test_a_value_that_is_meant_is_found():
    assert proposal_of(Choice((16, 32)), 32.0) == 32
    assert proposal_of(Choice((0.1, 0.2)), 0.2) == 0.2
    assert proposal_of(Whole(1, 9), 4.0) == 4
    assert proposal_of(Real(0.0, 1.0), 1) == 1.0
    lists = [(Choice((16, 32)), 64), (Choice((1, 2)), True)]
    reals = [(Real(0.0, 1.0), 2), (Real(0.0, 1.0), "auto"), (Real(0.0, 1.0), None)]
    wholes = [(Whole(1, 9), 1.5), (Whole(0, 1), True)]
    for parameter, value in [*lists, *reals, *wholes]:
        with pytest.raises(ValueError, match="not in|none of|no whole"):
            proposal_of(parameter, value)


def test_a_reversed_scale_is_refused_with_what_to_do():
    with pytest.raises(UserError, match=r"optim.momentum.*no reversed logarithmic scale.*launch.tune"):
        to_distribution("optim.momentum", parse_parameter("optim.momentum", "tag(reverse_log, interval(0.5, 0.99))"))


def test_counting():
    assert num_combinations(parse_space({"a": "1,2,3", "b": "int(interval(1, 4))", "c": "true,false"})) == 24
    assert num_combinations(parse_space({"a": "1,2,3", "b": "interval(1, 4)"})) is None
