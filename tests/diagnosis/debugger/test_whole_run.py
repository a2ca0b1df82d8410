"""What the hook saves of a run as the command makes it, read back with smdebug's own trials and rules."""

import os
from pathlib import Path

import pytest
import torch
from helpers import compose_quick, rows_of
from trials import EVAL, LOSS, TRAIN, numbers, smd

from dogbreed import ImageClassifier, fit_run, load_model


def trial_of(folder):
    return smd.create_trial(str(folder / "smdebug"))


# -- a whole run -------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tree, tmp_path_factory):
    """A run as the command makes it; its folder is where the main environment looks at it afterwards."""
    folder = Path(os.environ.get("HOOK_RUN") or tmp_path_factory.mktemp("hook") / "run")
    more = (
        "diagnose/hook=smdebug",
        "diagnose.hook.save_interval=2",
        "diagnose.hook.collections.losses.save_interval=1",
    )
    layers = "++diagnose.hook.collections.layers={include_regex:[layer1.0.conv1_,ResNet_output]}"
    tensorboard = ("logger=tensorboard", "diagnose.hook.export_tensorboard=true")
    return fit_run(compose_quick(tree, *more, layers, *tensorboard), folder)


def test_losses_are_those_of_the_steps(run):
    trial = trial_of(run.run_dir)
    losses = [float(row["loss"]) for row in rows_of(run.run_dir / "steps.csv")]
    assert len(losses) == 6
    assert numbers(trial, LOSS) == pytest.approx(dict(enumerate(losses)), rel=1e-5)
    assert [name for name in trial.tensor_names() if "Loss" in name] == [LOSS]


def test_validation(run):
    trial, rows = trial_of(run.run_dir), rows_of(run.run_dir / "metrics.csv")
    losses = numbers(trial, LOSS, EVAL)  # two batches an epoch, of 8 pictures and of 1
    assert list(losses) == [0, 1, 2, 3]
    for epoch, row in enumerate(rows):
        mean = (8 * losses[2 * epoch] + losses[2 * epoch + 1]) / 9
        assert mean == pytest.approx(float(row["val/loss"]), rel=1e-5)
    for name in ("val/loss", "val/acc_top1", "val/f1_macro"):
        saved = numbers(trial, f"scalar/{name}", EVAL)
        assert saved == pytest.approx({1: float(rows[0][name]), 3: float(rows[1][name])}, abs=1e-6)


def test_collections_intervals_and_reductions(run):
    trial = trial_of(run.run_dir)
    for collection in ("weights", "gradients", "biases"):
        for name in trial.tensor_names(collection=collection, mode=TRAIN):
            assert trial.tensor(name).steps(mode=TRAIN) == [0, 2, 4]
    gradients = trial.tensor_names(collection="gradients", mode=TRAIN)
    assert {f"gradient/{name}" for name in trial.tensor_names(collection="weights", mode=TRAIN)} <= set(gradients)
    assert not trial.tensor_names(collection="gradients", mode=EVAL)
    tensor = trial.tensor("ResNet_conv1.0.weight")
    assert tensor.reduction_value(0, "mean", mode=TRAIN, abs=True) > abs(tensor.reduction_value(0, "mean", mode=TRAIN))
    layers = {"layer1.0.conv1_output_0", "layer1.0.conv1_input_0", "ResNet_output_0"}
    assert set(trial.tensor_names(collection="layers")) == layers
    assert list((run.run_dir / "smdebug" / "tensorboard" / "EVAL").iterdir())


def test_rules(run):
    class LossAbove(smd_rule()):
        def __init__(self, trial, limit):
            super().__init__(trial, action_str="")
            self.limit = limit

        def invoke_at_step(self, step):
            name = self.base_trial.tensor_names(collection="losses")[0]
            return self.base_trial.tensor(name).value(step) > self.limit

    from smdebug.exceptions import NoMoreData, RuleEvaluationConditionMet
    from smdebug.rules.rule_invoker import invoke_rule

    trial = trial_of(run.run_dir)
    with pytest.raises(RuleEvaluationConditionMet, match="LossAbove at step 0"):
        invoke_rule(LossAbove(trial, 0.5), raise_eval_cond=True)
    with pytest.raises(NoMoreData):  # healthy to the end
        invoke_rule(LossAbove(trial, 5.0), raise_eval_cond=True)


def smd_rule():
    from smdebug.rules.rule import Rule

    return Rule


def test_the_model_knows_nothing_of_it(run):
    for file in [*run.model_dir.iterdir(), *(run.run_dir / "checkpoints").iterdir()]:
        assert b"smdebug" not in file.read_bytes().replace(b"SmdebugHook", b""), file
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = torch.load(run.run_dir / "checkpoints" / name, weights_only=True)
        assert checkpoint["callbacks"]["SmdebugHook"].keys() == {"num_validated"}
        ImageClassifier.load_from_checkpoint(run.run_dir / "checkpoints" / name)
    load_model(run.model_dir)
