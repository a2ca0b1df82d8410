"""What a job tells Amazon's Debugger: names and forms as Amazon has them."""

import inspect

import pytest
import smdebug_rulesconfig
from launch_helpers import edited, facts_of
from launch_requests import refused_by_botocore
from smdebug_rulesconfig.profiler_rules import rules as amazon_profiler_rules

from dogbreed import UserError
from dogbreed.diagnosis.hook_config import job_config
from launch.debugger import PROFILER_RULES, RULES, refuse_for_tuning
from launch.plan import make_plan
from launch.settings import LaunchSettings

BASE = ("launch=a10g", "launch/debugger=smdebug")


def planned(*values, base=BASE):
    cfg = edited(*values, base=base)
    return make_plan(cfg, list(base), facts_of(cfg))


def test_none_by_default_with_the_reason_in_one_line():
    plan = planned(base=("launch=a10g",))
    assert plan.request["ProfilerConfig"] == {"DisableProfiler": True}
    assert not {"DebugHookConfig", "DebugRuleConfigurations", "ProfilerRuleConfigurations"} & plan.request.keys()
    (note,) = [note for note in plan.notes if "Debugger" in note]
    assert "closed to new customers since 2026-07-30; our own rules run in the job" in note


def test_the_hook_of_the_run_is_switched_on_on_both_sides():
    plan = planned()
    assert "launch/debugger=smdebug" in plan.overrides
    assert edited(base=plan.overrides).diagnose.hook is not None
    with pytest.raises(UserError, match="without diagnose/hook=smdebug has nothing to look at"):
        planned("diagnose.hook=null")


def test_the_hook_saves_in_a_job_what_it_saves_here():
    cfg = edited("diagnose.hook.save_interval=7", "diagnose.hook.collections.biases=null", base=BASE)
    config = planned("diagnose.hook.save_interval=7", "diagnose.hook.collections.biases=null").request[
        "DebugHookConfig"
    ]
    hook = {key: value for key, value in cfg.diagnose.hook.items() if key not in ("_target_", "out_dir", "scalars")}
    collections = hook.pop("collections")
    expected = job_config(hook, collections)
    # The API takes texts only; smdebug reads them, and TensorBoard is another part of the request.
    parameters = {key: str(value) for key, value in expected["HookParameters"].items() if key != "export_tensorboard"}
    parameters = {key: value.lower() if value in ("True", "False") else value for key, value in parameters.items()}
    assert config["HookParameters"] == {key: value for key, value in parameters.items() if value}
    assert [entry["CollectionName"] for entry in config["CollectionConfigurations"]] == [
        entry["CollectionName"] for entry in expected["CollectionConfigurations"]
    ]
    assert config["CollectionConfigurations"][0] == {
        "CollectionName": "losses",
        "CollectionParameters": {"save_interval": "10"},
    }
    assert config["S3OutputPath"].endswith("/debug/")


def test_rules_are_amazons():
    request = planned("launch.debugger.rules.Overfit={ratio_threshold: 0.2, patience: 3}").request
    rules = {rule["RuleConfigurationName"]: rule for rule in request["DebugRuleConfigurations"]}
    assert list(rules) == ["VanishingGradient", "LossNotDecreasing", "Overfit", "Overtraining"]
    assert rules["Overfit"]["RuleParameters"] == {
        "rule_to_invoke": "Overfit",
        "ratio_threshold": "0.2",
        "patience": "3",
    }
    assert all("sagemaker-debugger-rules" in rule["RuleEvaluatorImage"] for rule in rules.values())
    known = {
        config()["DebugRuleConfiguration"]["RuleConfigurationName"]
        for name, config in inspect.getmembers(smdebug_rulesconfig.debugger_rules.builtin_rules, inspect.isfunction)
        if not inspect.signature(config).parameters and not name.startswith(("_", "get"))
    }
    assert set(RULES) <= known
    ours = {name for name, _ in inspect.getmembers(amazon_profiler_rules, inspect.isclass)}
    assert set(PROFILER_RULES) <= ours


def test_the_profiler():
    request = planned("launch.debugger.profiler=true", "launch.debugger.profiler_interval_ms=1000").request
    assert request["ProfilerConfig"]["ProfilingIntervalInMilliseconds"] == 1000
    assert request["ProfilerConfig"]["DisableProfiler"] is False
    assert request["ProfilerRuleConfigurations"][0]["RuleParameters"] == {"rule_to_invoke": "ProfilerReport"}
    assert refused_by_botocore(request) == ""


def test_what_old_protobuf_needs_is_in_the_jobs_environment():
    assert planned().request["Environment"] == {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}


@pytest.mark.parametrize(
    ("values", "base", "match"),
    [
        (["+launch.debugger.rule={}"], BASE, r"launch.debugger.rule does not exist. Did you mean rules"),
        (["+launch.debugger.rules.Overfitt={}"], BASE, r"rules.Overfitt is none of .* Did you mean Overfit"),
        (["launch.debugger.rules.Overfit=5"], BASE, r"rules.Overfit=5 must be a mapping"),
        (
            ["launch.debugger.profiler=true", "launch.debugger.profiler_interval_ms=7"],
            BASE,
            r"ms=7 does not exist. Valid: 100",
        ),
        ([], ("launch=a10g_x4", "launch/debugger=smdebug"), r"does not work with both 4 devices and checkpoints"),
    ],
)
def test_what_it_cannot_do_is_a_sentence(values, base, match):
    with pytest.raises(UserError, match=match):
        planned(*values, base=base)


def test_several_devices_without_checkpoints():
    request = planned("launch.checkpoints=false", base=("launch=a10g_x4", "launch/debugger=smdebug")).request
    assert "DebugHookConfig" in request


def test_a_tuning_job_has_no_place_for_it():
    refuse_for_tuning(LaunchSettings.of(edited()))
    with pytest.raises(UserError, match="cannot be combined with a tuning job.*our own rules run in each of its jobs"):
        refuse_for_tuning(LaunchSettings.of(edited(base=BASE)))
