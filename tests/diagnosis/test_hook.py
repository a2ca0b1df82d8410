"""The smdebug hook: its tests run in a side environment, since smdebug does not fit into this one."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
from helpers import compose_quick
from side_environment import NEW_PROTOBUF, OLD_PROTOBUF, side_python

from dogbreed import ImageClassifier, UserError, fit_run, load_model
from dogbreed.diagnosis import SmdebugHook
from dogbreed.fit.build import instantiate

TOP = Path(__file__).resolve().parents[2]


def run_tests(packages, run_dir, *more, file=""):
    """Run the tests of the folder ``debugger``, or of a file there, beside smdebug; return what pytest says."""
    own = ["-o", "pythonpath=tests tests/diagnosis/debugger", "-p", "no:cacheprovider", "--disable-warnings"]
    done = subprocess.run(
        [side_python(packages), "-m", "pytest", "-q", *own, f"tests/diagnosis/debugger/{file}", *more],
        cwd=TOP,
        env=os.environ | {"PYTHONPATH": str(TOP), "HOOK_RUN": str(run_dir)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_beside_smdebug(tree, tmp_path):
    """As the extra installs it; then its model here, where there is no smdebug."""
    assert importlib.util.find_spec("smdebug") is None
    assert " passed" in run_tests(OLD_PROTOBUF, tmp_path / "run", file="test_whole_run.py")
    model = load_model(tmp_path / "run" / "model")
    assert {model.predict([file])[0].labels[0] for file in tree.glob("test/*/*_0.jpg")} <= {"blue", "green", "red"}
    ImageClassifier.load_from_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("packages", [OLD_PROTOBUF, NEW_PROTOBUF], ids=["old protobuf", "new protobuf"])
def test_beside_smdebug_all(packages, tmp_path):
    assert " passed" in run_tests(packages, tmp_path / "run", "-m", "slow or not slow")


# -- sentences ---------------------------------------------------------------


def test_without_the_extra(tree, tmp_path):
    with pytest.raises(UserError, match=r"^diagnose/hook=smdebug needs the extra debugger: pip install 'dogbreed\["):
        fit_run(compose_quick(tree, "diagnose/hook=smdebug"), tmp_path / "run")


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("save_interval=0", r"^diagnose.hook.save_interval=0 must be a whole number of steps, at least 1.$"),
        ("eval_save_interval=0", r"^diagnose.hook.eval_save_interval=0 must"),
        ("start_step=-1", r"^diagnose.hook.start_step=-1 must .* at least 0"),
        ("save_steps=[1,x]", r"^diagnose.hook.save_steps=\[1, 'x'\] must be whole numbers"),
        ("collections.losses.save_interval=0", r"^diagnose.hook.collections.losses.save_interval=0 must"),
        ("reductions=[median]", r"^diagnose.hook.reductions knows no median. Valid: min, max, mean"),
        ("include_regex=['conv(']", r"^diagnose.hook.include_regex holds conv\(, which is no regular expression"),
        ("include_regex=['a{1,2}']", r"^diagnose.hook.include_regex holds a\{1,2\}: smdebug splits at commas"),
        ("collections.weights={save_intervall:1}", r"save_intervall does not exist. Did you mean save_interval"),
        ("collections.weights={reductions:mean}", r"^diagnose.hook.collections.weights.reductions=mean must be a list"),
        ("collections={mine:{}}", r"^diagnose.hook.collections.mine needs include_regex, unless"),
    ],
)
def test_settings(override, match, tree):
    key = "++" if "={" in override else ""
    cfg = compose_quick(tree, "diagnose/hook=smdebug", f"{key}diagnose.hook.{override}")
    with pytest.raises(UserError, match=match):
        instantiate(cfg.diagnose.hook)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", r"Expecting property name"),
        ("[]", r"a mapping is expected, not list"),
        ('{"HookParameters": {"save_interval": "0"}}', r"save_interval=0 in HookParameters must be at least 1"),
        ('{"HookParameters": {"save_interval": "often"}}', r"invalid literal"),
        ('{"CollectionConfigurations": [{}]}', r"'CollectionName' is missing"),
        (
            '{"CollectionConfigurations":[{"CollectionName":"a","CollectionParameters":{"eval.save_interval":0}}]}',
            r"eval.save_interval=0 in CollectionParameters of a must be",
        ),
        (None, "No such file"),
    ],
)
def test_a_jobs_file_that_is_damaged(text, reason, tmp_path, monkeypatch):
    file = tmp_path / "debughookconfig.json"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(file))
    with pytest.raises(UserError, match=rf"^{file} does not configure the hook of SageMaker Debugger \(.*{reason}"):
        SmdebugHook()
