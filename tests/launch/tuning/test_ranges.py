"""Search spaces as SageMaker's ranges, and back: the same parameters, and in a child the same values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dogbreed import UserError
from dogbreed.sweeps.space import Choice, Real, Whole, override_text, parameter_text, parse_parameter
from launch.overrides import from_hyperparameters, to_hyperparameters
from launch.standin.tuning_values import chosen_values
from launch.tuning.ranges import from_ranges, read_value, to_ranges

KEYS = st.from_regex(r"[a-z]{1,8}(\.[a-z_]{1,8}){0,2}", fullmatch=True).filter(lambda key: not key.startswith("hydra"))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\\'\"${}[]()"), max_size=20)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), NUMBERS.map(lambda x: float(repr(x))), TEXTS)


@st.composite
def intervals(draw, kind=float):
    numbers = NUMBERS if kind is float else st.integers(-(2**53), 2**53)
    scale = draw(st.sampled_from(("linear", "log", "reverse_log") if kind is float else ("linear", "log")))
    low_end = {"linear": -math.inf, "log": 1e-300 if kind is float else 1, "reverse_log": 0.0}[scale]
    most = {"linear": math.inf, "log": math.inf, "reverse_log": 0.999999}[scale]
    low, high = sorted((draw(numbers), draw(numbers)))
    if scale == "reverse_log":
        low, high = sorted((draw(st.floats(0, 0.9999)), draw(st.floats(0, 0.9999))))
    low, high = max(low, low_end), min(high, most)
    if not low < high:
        low, high = (0.25, 0.5) if kind is float else (1, 2)
    return Real(float(low), float(high), scale) if kind is float else Whole(int(low), int(high), scale)


CHOICES = st.lists(VALUES, min_size=1, max_size=6, unique_by=lambda value: (type(value), value)).map(
    lambda values: Choice(tuple(values))
)
SPACES = st.dictionaries(KEYS, st.one_of(intervals(), intervals(int), CHOICES), min_size=1, max_size=8)


@given(SPACES)
def test_a_space_comes_back_as_it_was(space):
    assert from_ranges(to_ranges(space)) == space


@given(CHOICES)
def test_a_value_of_a_list_is_the_same_in_the_child(choice):
    for value, text in zip(
        choice.values, to_ranges({"key": choice})["CategoricalParameterRanges"][0]["Values"], strict=True
    ):
        (override,) = from_hyperparameters({"key": text, "_tuning_objective_metric": "val/acc_top1"})
        assert override == override_text("key", value)
        assert parse_parameter("key", override.partition("=")[2]).values == (value,)
        assert read_value("key", text) == value
        assert to_hyperparameters([override])["key"] == text  # the same as typed


@given(st.one_of(intervals(), intervals(int)))
def test_what_a_tuner_writes_is_within_the_range(parameter):
    ranges = to_ranges({"key": parameter})
    chosen = chosen_values({"Strategy": "Random", "ParameterRanges": ranges, "RandomSeed": 1}, "name")
    for _ in range(3):
        value = read_value("key", next(chosen)["key"])
        assert parameter.low <= value <= parameter.high
        assert isinstance(value, int) or isinstance(parameter, Real)


def test_every_kind_as_the_api_has_it():
    texts = {
        "optim.lr": "tag(log, interval(1e-5, 0.1))",
        "optim.momentum": "tag(reverse_log, interval(0.5, 0.999))",
        "loss.label_smoothing": "interval(0, 0.2)",
        "model.size": "tag(log, int(interval(16, 512)))",
        "trainer.max_epochs": "range(5, 11)",
        "data.batch_size": "choice(32, 64)",
        "model": "resnet18, resnet50",
        "augment.erase": "null, 0.5",
    }
    ranges = to_ranges({key: parse_parameter(key, text) for key, text in texts.items()})
    assert ranges == {
        "ContinuousParameterRanges": [
            {"Name": "optim.lr", "MinValue": "1e-05", "MaxValue": "0.1", "ScalingType": "Logarithmic"},
            {"Name": "optim.momentum", "MinValue": "0.5", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"},
            {"Name": "loss.label_smoothing", "MinValue": "0.0", "MaxValue": "0.2", "ScalingType": "Linear"},
        ],
        "IntegerParameterRanges": [
            {"Name": "model.size", "MinValue": "16", "MaxValue": "512", "ScalingType": "Logarithmic"},
            {"Name": "trainer.max_epochs", "MinValue": "5", "MaxValue": "10", "ScalingType": "Linear"},
        ],
        "CategoricalParameterRanges": [
            {"Name": "data.batch_size", "Values": ['"32"', '"64"']},
            {"Name": "model", "Values": ['"resnet18"', '"resnet50"']},
            {"Name": "augment.erase", "Values": ['"null"', '"0.5"']},
        ],
    }
    assert {key: parameter_text(one) for key, one in from_ranges(ranges).items()}["trainer.max_epochs"] == (
        "int(interval(5, 10))"
    )


def test_a_grid_takes_lists_and_keeps_ranges_as_lists():
    space = {"a": parse_parameter("a", "range(1, 4)"), "b": parse_parameter("b", "x, y")}
    ranges = to_ranges(space, is_grid=True)
    assert [row["Values"] for row in ranges["CategoricalParameterRanges"]] == [['"1"', '"2"', '"3"'], ['"x"', '"y"']]
    with pytest.raises(UserError, match=r"lr=interval\(0.1, 1.0\) is an interval"):
        to_ranges({"lr": Real(0.1, 1.0)}, is_grid=True)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({f"k{n}": Real(0.0, 1.0) for n in range(31)}, "has 31 parameters, and a tuning job takes at most 30"),
        ({"a": Choice(tuple(range(31)))}, "range of a has 31 values, .* at most 30: use interval"),
        ({"a" * 257: Real(0.0, 1.0)}, "has 257 characters, and a tuned key at most 256"),
        ({"a": Choice(("x" * 300,))}, r"its value x+… has 302 characters .* at most 256: put it into an option"),
        ({"a": Whole(0, 2**53 + 1)}, f"takes whole numbers up to {2**53}"),
        ({"sagemaker_program": Choice((1,))}, "belong to the job"),
        ({"_tuning_x": Choice((1,))}, "belong to the job"),
    ],
)
def test_what_a_tuning_job_cannot_express(space, sentence):
    with pytest.raises(UserError, match=sentence):
        to_ranges(space)


def test_what_others_have_written_is_read_too():
    assert read_value("lr", "1.0E-4") == 0.0001
    assert read_value("n", "16") == 16
    assert read_value("model", "resnet18") == "resnet18"
    with pytest.raises(UserError, match="is no single value"):
        read_value("n", "1,2")
