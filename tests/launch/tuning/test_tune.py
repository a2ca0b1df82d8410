"""The whole command against the stand-in: what is sent, and what is refused before anything is."""

import json

import pytest
from launch_jobs import wait_until
from launch_requests import refused_by_botocore
from tuning_jobs import ACTION, SPACE, child, finish

from dogbreed.config import conf_dir
from dogbreed.sweeps.space import Choice, Real, Whole
from launch.overrides import from_hyperparameters
from launch.record import LaunchRecord
from launch.standin.tuning_actions import problem_of
from launch.tuning.ranges import from_ranges

STANDIN = "driven"


# -- what is sent ------------------------------------------------------------------


def test_a_tuning_job_is_a_training_job_with_ranges(aws, search, tmp_path):
    before = len(aws.sent(ACTION))
    tuning = search("max_jobs=6", "max_parallel=2", "stop_early=true", "launch.spot=true", "seed=3")
    (request,) = aws.sent(ACTION)[before:]
    assert refused_by_botocore(request, ACTION) == ""
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    assert config["Strategy"] == "Bayesian"
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 2}
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": "val/acc_top1"}
    assert config["TrainingJobEarlyStoppingType"] == "Auto"
    assert config["RandomSeed"] == 3
    assert from_ranges(config["ParameterRanges"]) == {
        "optim.lr": Real(1e-4, 1e-1, "log"),
        "data.batch_size": Choice((4, 8)),
    }
    static = definition["StaticHyperParameters"]
    assert static["sagemaker_program"] == '"sm_entry.py"'
    assert not {"optim.lr", "data.batch_size", "max_jobs", "stop_early"} & set(static)
    assert definition["EnableManagedSpotTraining"]
    assert definition["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert definition["InputDataConfig"][0]["ChannelName"] == "data"
    assert len(request["HyperParameterTuningJobName"]) <= 32
    assert request["Tags"][0]["Key"] == "dogbreed"
    record = LaunchRecord.read(tmp_path / "search")
    assert record.is_tuning
    assert record.request == request
    assert not any(text.startswith(("max_jobs", "launch.")) for text in record.overrides)

    overrides = from_hyperparameters(child(tuning, 1).request["HyperParameters"])
    assert "data.root=${oc.env:SM_CHANNEL_DATA}" in overrides
    assert overrides[-2].startswith("data.batch_size=")
    assert overrides[-1].startswith("optim.lr=")


def test_a_sweep_of_the_configuration_is_the_space_and_the_command_line_changes_it(aws, tune, tmp_path):
    """What is typed wins; ranges of a node of the sweeper stand for those of a file of conf/sweep."""
    from omegaconf import OmegaConf

    from dogbreed.config import compose
    from launch.tuning.search import Search

    params = {"optim.lr": "tag(log, interval(1e-4, 1e-1))", "data.batch_size": "choice(16, 32)", "seed": "range(3)"}
    sweeper = {"params": params, "engine": "random", "n_trials": 40, "n_jobs": 4}
    cfg = compose(["launch=cpu"], "tune")
    search = Search.of(cfg, {"data.batch_size": "8,16", "trainer.max_epochs": "range(1, 4)"}, ["seed=1"], sweeper)
    assert search.space == {
        "optim.lr": Real(1e-4, 1e-1, "log"),
        "data.batch_size": Choice((8, 16)),
        "trainer.max_epochs": Choice((1, 2, 3), is_ordered=True),
    }
    assert (search.settings.strategy, search.settings.max_jobs, search.settings.max_parallel) == ("random", 40, 4)
    OmegaConf.update(cfg, "max_jobs", 3)
    fewer = Search.of(cfg, {}, [], {**sweeper, "engine": "tpe"})
    assert (fewer.settings.strategy, fewer.settings.max_jobs, fewer.settings.max_parallel) == ("bayesian", 3, 3)


def test_a_grid_runs_all_combinations_in_order(aws, search):
    tuning = search("strategy=grid", space=("data.batch_size=4,8", "trainer.max_epochs=range(1, 3)"))
    assert tuning.hyper_parameter_tuning_job_config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 4
    for number in range(1, 5):
        finish(tuning, number, number / 10)
    wait_until(lambda: tuning.is_over)
    given = [tuning.tuned[job.training_job_name] for job in tuning.children]
    assert [(row["data.batch_size"], row["trainer.max_epochs"]) for row in given] == [
        (f'"{batch}"', f'"{epochs}"') for batch in (4, 8) for epochs in (1, 2)
    ]


def test_hyperband_lets_a_job_deliver_after_its_last_epoch(aws, search):
    tuning = search("strategy=hyperband", "trainer.max_epochs=int(interval(2, 9))")
    config = tuning.hyper_parameter_tuning_job_config
    assert config["StrategyConfig"] == {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 10}}
    assert from_ranges(config["ParameterRanges"])["trainer.max_epochs"] == Whole(2, 9)


def test_a_warm_start_names_its_parents(aws, search, tune, tmp_path):
    parent = search("max_jobs=1")
    finish(parent, 1, 0.5)
    wait_until(lambda: parent.is_over)
    more = (f"hydra.run.dir={tmp_path / 'second'}", "warm_start_type=transfer")
    answer = tune(*more, f"warm_start={parent.name}")
    assert answer.code == 0, answer.err
    assert aws.sent(ACTION)[-1]["WarmStartConfig"] == {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent.name}],
        "WarmStartType": "TransferLearning",
    }


def test_a_parent_that_does_not_fit_moves_no_byte(aws, search, tune, tmp_path):
    def sent():
        return len(aws.sent(ACTION)), aws.worker.client("s3").list_objects_v2(Bucket=aws.bucket)["KeyCount"]

    parent = search("max_jobs=1")
    early = tune(f"hydra.run.dir={tmp_path / 'early'}", f"warm_start={parent.name}")
    assert "is not over" in early.err
    finish(parent, 1, 0.5)
    wait_until(lambda: parent.is_over)
    before = sent()
    for more, space, sentence in (
        ((), (SPACE[0], "data.batch_size=int(interval(4, 8))"), "the range of data.batch_size was a list and is whole"),
        (("objective=val/loss",), SPACE, "went by val/acc_top1 and this one goes by val/loss"),
        (("optim.weight_decay=0.1",), SPACE, "was given other keys (optim.weight_decay"),
    ):
        answer = tune(f"hydra.run.dir={tmp_path / 'second'}", f"warm_start={parent.name}", *more, space=space)
        assert (answer.code, sentence in answer.err) == (2, True), answer.err
        assert sent() == before


@pytest.mark.parametrize("name", sorted(file.stem for file in (conf_dir() / "sweep").glob("*.yaml")))
def test_every_sweep_of_ours_is_a_tuning_job(cli, name):
    """The same file that drives a search here."""
    answer = cli("launch.tune", f"sweep={name}", "launch=a10g", "launch.dry_run=true", "launch.image=x")
    assert answer.code == 0, answer.err
    request = json.loads(answer.out[answer.out.index("{") : answer.out.index("\n-- code")])
    sweeper = compose_sweeper(name)
    names = [
        row["Name"] for rows in request["HyperParameterTuningJobConfig"]["ParameterRanges"].values() for row in rows
    ]
    assert set(names) == set(sweeper["params"])
    assert refused_by_botocore(request, ACTION) == ""
    assert problem_of(request) == ""
    assert f"sweep={name}" in from_hyperparameters(request["TrainingJobDefinition"]["StaticHyperParameters"])


def compose_sweeper(name):
    import yaml

    return yaml.safe_load((conf_dir() / "sweep" / f"{name}.yaml").read_text())["hydra"]["sweeper"]


def test_a_dry_run_shows_the_request_and_what_all_jobs_can_cost(aws, tune, tmp_path, monkeypatch):
    for name in aws.environment:
        monkeypatch.delenv(name, raising=False)
    prices = tmp_path / "prices.yaml"
    prices.write_text("us-east-1: {ml.c6i.2xlarge: 0.5}\n")  # made up
    more = ("launch.region=us-east-1", f"launch.prices={prices}", "launch.max_run_s=7080", "max_jobs=20")
    answer = tune("launch.dry_run=true", *more)
    assert answer.code == 0, answer.err
    request = json.loads(answer.out[answer.out.index("{") : answer.out.index("\n-- code")])
    assert f"request ({ACTION})" in answer.out
    assert request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 20
    assert "at most 20.00 USD (20 jobs, each 1 × ml.c6i.2xlarge for at most 7200 s" in answer.out
    assert not (tmp_path / "search").exists()
    capped = tune("launch.dry_run=true", *more, "launch.max_cost_usd=19")
    assert capped.code == 2
    assert "launch.max_cost_usd=19: the jobs could cost at most 20.00 USD" in capped.err


# -- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["optim.lr=interval(1, 1)"], "The range of optim.lr, interval(1, 1): it is empty"),
        (["optim.lr=interval(2, 1)"], "reversed"),
        (["optim.lr=tag(log, interval(0, 1))"], "a logarithmic scale begins above 0"),
        (["optim.lrr=interval(0, 1)"], "optim.lrr does not exist. Did you mean optim.lr or"),
        (["model=resnet18,resnett50"], "model=resnett50 does not exist. Did you mean resnet50 or"),
        (["optim.lr=1", "data.batch_size=8"], "The search space is empty"),
        (
            ["trainer.max_epochs=interval(1, 5)"],
            "has fractions, and trainer.max_epochs=12 is a whole number: write int(",
        ),
        (["strategy=grid"], "optim.lr=tag(log, interval(0.0001, 0.1)) is an interval"),
        (["strategy=grid", "optim.lr=1,2", "max_jobs=5"], "max_jobs=5: strategy=grid runs all 4 combinations"),
        (["strategy=hyperband", "stop_early=true"], "stops jobs early by itself"),
        (["strategy=bayesain"], "strategy=bayesain does not exist. Did you mean bayesian?"),
        (["objective=[val/acc_top1,seconds]"], "goes by one metric; name one, objective=val/acc_top1"),
        (["objective=test/acc_top1"], "must not see the test split; use objective=val/acc_top1"),
        (["objective=val/acc_top2"], "objective=val/acc_top2 is nothing that a job's log reports. Did you mean"),
        (["test_after_fit=true"], "what searches must not see the test split"),
        (["launch/debugger=smdebug"], "tuning job"),
        (["launch.tensorboard=true"], "launch.tensorboard=true: a tuning job's API has no place for it"),
        (["launch.name=a-very-long-name-of-a-tuning-job"], "give at most 15"),
        (["warm_start=a-name-of-more-than-thirty-two-characters"], "is no tuning job's name"),
        (["max_parallel=3", "max_jobs=2"], "max_parallel=3 is more than max_jobs=2"),
        (["max_jobs=751"], "max_jobs=751 must be between 1 and 750 (strategy=bayesian)"),
        (["max_jobs=soon"], "max_jobs=soon must be a whole number or auto"),
        (["patience=2"], "patience=2 must be at least 3"),
        (["launch=a10g,l4"], "cannot search over launch: all jobs of a tuning job run on the same machines"),
        (["data.root=a,b"], "cannot search over data.root: all jobs of a tuning job get the same files"),
        (["trainer.num_nodes=1,2"], "cannot search over trainer.num_nodes"),
        (["max_jobs=1,2"], "max_jobs says how a tuning job searches, and takes one value"),
        (["early_stopping=true"], "what SageMaker ends is stop_early=true"),
        (["-m"], "-m is for sweeps that this machine runs"),
        (["max_jobss=3"], "Did you mean max_jobs?"),
        (["launch.max_run_s=1,2"], "cannot search over launch.max_run_s"),
        (["model.*=glob(a)"], ""),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(aws, tune, more, sentence):
    before = len(aws.sent(ACTION))
    answer = tune(*more)
    assert answer.code == 2
    assert sentence in answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err.splitlines()) == 1
    assert len(aws.sent(ACTION)) == before


def test_local_is_refused(aws, tune):
    answer = tune(preset="local")
    assert answer.code == 2
    assert "launch=local: a tuning job is SageMaker's" in answer.err


def test_an_unknown_parent_is_a_sentence(aws, tune):
    answer = tune("warm_start=nobody")
    assert answer.code == 2
    assert "nobody" in answer.err
    assert "Traceback" not in answer.err
