"""Overrides as hyperparameters and back: without loss, in Hydra's own eyes too."""

import json
import random
import re
import string

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import assume, given
from hypothesis import strategies as st

from dogbreed import UserError
from launch.overrides import (
    MAX_VALUE_CHARS,
    ORDER,
    from_hyperparameters,
    job_overrides,
    replace_override,
    to_hyperparameters,
)

PARSER = OverridesParser.create()


def sent(hyperparameters, seed=0):
    """What arrives in a job: a mapping without an order, of texts."""
    items = list(json.loads(json.dumps(hyperparameters)).items())
    random.Random(seed).shuffle(items)
    return dict(items)


def there_and_back(overrides):
    return from_hyperparameters(sent(to_hyperparameters(overrides)))


@pytest.mark.parametrize(
    "override",
    [
        "model=resnet50",
        "launch=a10g_x4",
        "launch/debugger=smdebug",
        "optim.lr=1e-3",
        "seed=null",
        "data.root=",
        'data.root=""',
        "data.root='/photos of dogs (2026)/Ö — 犬'",
        'data.root="it\'s \\"quoted\\" and \\\\"',
        "objective=[val/acc_top1,seconds]",
        "optim={name: sgd, lr: 0.1}",
        "+callbacks.x={_target_: a.B, y: [1, {z: null}]}",
        "++trainer.x=${oc.env:HOME,none}",
        "+trainer.x=${trainer.max_epochs}/${seed}",
        "~callbacks",
        "~callbacks=",
        "~logger=tensorboard",
        "model@model.teacher=resnet50",
        "+data@more.data=sample",
        "x.y='a=b'",
        "x.y= spaces ",
        "x.y=\\$\\{\\}",
        "x.y=str(5)",
        "x.y=true",
        "x.y='\u2028\u0085'",
        "data.root='/no utf-8: \udcff'",
        """x.y='{"base64": "YQ=="}'""",
    ],
)
def test_an_override_comes_back_as_it_was(override):
    assert there_and_back([override]) == [override]
    for text in to_hyperparameters([override]).values():
        # The container's toolkit decodes JSON and hands it to a shell; AWS's patterns end at Unicode's line breaks.
        value = json.loads(text)
        assert value is None or isinstance(value, (str, dict))
        assert not re.search(r"[$`\\'();&|<>*?!#]", text)
        assert text.isascii()
        assert len(text.splitlines()) == 1


# -- over Hydra's grammar ------------------------------------------------------

NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_-]{0,8}", fullmatch=True)
KEYS = st.one_of(
    st.lists(NAMES, min_size=1, max_size=4).map(".".join),
    st.lists(NAMES, min_size=2, max_size=3).map("/".join),
    st.tuples(NAMES, NAMES).map("@".join),
)
QUOTED = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).flatmap(
    lambda text: st.sampled_from("'\"").map(lambda quote: quote + text.replace("\\", "").replace(quote, "") + quote)
)
PLAIN = st.one_of(
    st.text(string.ascii_letters + string.digits + "/-\\+.$%*@?|_: ", max_size=12).map(str.strip),
    st.integers().map(str),
    st.floats(allow_nan=True).map(repr),
    st.sampled_from(["true", "False", "null", "", "${a.b}", "${oc.env:X,1}/y", "1e-5", "\\,", "\\="]),
)
VALUES = st.recursive(
    PLAIN | QUOTED,
    lambda inner: st.one_of(
        st.lists(inner.filter(bool), max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(NAMES, inner.filter(bool), max_size=3).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        ),
    ),
    max_leaves=6,
)
OVERRIDES = st.one_of(
    st.builds("{}{}={}".format, st.sampled_from(["", "+", "++", "~"]), KEYS, VALUES),
    KEYS.map("~{}".format),
)


def is_readable(override):
    try:
        return not PARSER.parse_override(override).is_sweep_override()
    except HydraException:
        return False


@given(st.lists(OVERRIDES, max_size=6), st.randoms(use_true_random=False))
def test_whatever_hydra_reads_comes_back_in_its_order(overrides, rng):
    overrides = [override for override in overrides if is_readable(override)]
    ours = [text for text in overrides if job_overrides([text])]
    names = [text.partition("=")[0] for text in ours]
    assume(len(set(names)) == len(names))
    assume(not any(name.startswith(("sagemaker_", "dogbreed_", "_tuning_")) for name in names))
    hyperparameters = to_hyperparameters(overrides)
    back = from_hyperparameters(sent(hyperparameters, rng.random()))
    assert back == ours
    assert PARSER.parse_overrides(back) == PARSER.parse_overrides(ours)


def test_the_order_is_kept_since_it_matters_to_hydra():
    overrides = ["++z={b: 1}", "z.b=2", "a=1", "~m", "+m=3"]
    assert there_and_back(overrides) == overrides


def test_the_last_of_the_same_key_counts():
    assert there_and_back(["a=1", "b=2", "a=3"]) == ["b=2", "a=3"]
    with pytest.raises(UserError, match=r"\+a is given twice with mappings, .* write one, \+a=\{…\}"):
        to_hyperparameters(["+a={b: 1}", "+a={c: 2}"])


def test_what_a_tuning_job_adds_is_taken_as_it_is_and_comes_last():
    hyperparameters = to_hyperparameters(["seed=1", "optim.weight_decay=0.1"])
    hyperparameters |= {"optim.lr": "0.0123", "model": "resnet50", "_tuning_objective_metric": "val/acc_top1"}
    hyperparameters |= {"sagemaker_program": '"sm_entry.py"', "dogbreed_revision": '"abc"', "trainer.x": '["a"]'}
    expected = ["seed=1", "optim.weight_decay=0.1", "model=resnet50", "optim.lr=0.0123", 'trainer.x=["a"]']
    assert from_hyperparameters(sent(hyperparameters)) == expected


def test_what_is_ours_here_stays_here():
    overrides = [
        "launch.max_run_s=5",
        "hydra.run.dir=x",
        "hydra/job_logging=none",
        "+launch.tags.a=b",
        "launch={wait: false}",
    ]
    assert job_overrides(overrides) == []
    assert to_hyperparameters(overrides) == {}
    assert job_overrides(["launch=a10g", "launch/debugger=smdebug", *overrides]) == [
        "launch=a10g",
        "launch/debugger=smdebug",
    ]


@pytest.mark.parametrize(
    "sweep", ["optim.lr=1e-3,3e-3", "seed=range(3)", "model=choice(resnet18,resnet50)", "a=glob(*)"]
)
def test_several_values_are_refused(sweep):
    with pytest.raises(UserError, match=r"gives several values, and a launch is one run.*hydra/launcher=sagemaker"):
        to_hyperparameters([sweep])


def test_what_cannot_be_read_is_refused():
    with pytest.raises(UserError, match="cannot be read as KEY=VALUE"):
        to_hyperparameters(["data.root=a b(c"])


def test_limits_of_the_api():
    longest = MAX_VALUE_CHARS - 2  # the quotes of JSON
    assert len(to_hyperparameters([f"a={'x' * longest}"])["a"]) == MAX_VALUE_CHARS
    with pytest.raises(
        UserError, match=r"^a as a hyperparameter has 2501 characters, and a job takes at most 2500: put it"
    ):
        to_hyperparameters([f"a={'x' * (longest + 1)}"])
    with pytest.raises(UserError, match=r"^101 hyperparameters, our own among them, are more than the 100"):
        to_hyperparameters([f"a{number}=1" for number in range(100)])
    assert len(to_hyperparameters([f"a{number}=1" for number in range(99)])) == 100
    with pytest.raises(UserError, match=r"has 257 characters, and the name of a hyperparameter at most 256"):
        to_hyperparameters([f"{'a' * 257}=1"])
    with pytest.raises(UserError, match="the list of all overrides' names has"):
        to_hyperparameters([f"{'a' * 200}{number}=1" for number in range(20)])
    with pytest.raises(UserError, match=r"\+?dogbreed_x: names that start with"):
        to_hyperparameters(["dogbreed_x=1"])


def test_an_override_is_replaced_whatever_set_it():
    overrides = ["data.root=/a", "++data.root=/b", "seed=1", "data.rooted=x"]
    assert replace_override(overrides, "data.root", "/c") == ["seed=1", "data.rooted=x", "data.root=/c"]


def test_what_only_looks_coded_is_taken_as_it_is():
    hyperparameters = {"a": '{"base64": 5}', "b": '{"base64": "!"}', "c": '{"base64": "YQ==", "d": 1}'}
    assert from_hyperparameters(hyperparameters) == [f"{name}={text}" for name, text in hyperparameters.items()]


def test_the_order_is_no_override():
    assert ORDER not in there_and_back(["a=1"])
