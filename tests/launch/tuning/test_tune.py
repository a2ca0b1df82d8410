"""The whole command against the stand-in: what is sent, what is refused, how it is followed and brought home."""

import json

import pytest
from helpers import QUICK
from launch_jobs import archive, wait_until
from launch_requests import refused_by_botocore

from dogbreed.config import conf_dir
from dogbreed.sweeps.space import Choice, Real, Whole
from launch.overrides import from_hyperparameters
from launch.record import LaunchRecord
from launch.standin.tuning_actions import problem_of
from launch.tuning.ranges import from_ranges, read_value

STANDIN = "driven"
SPACE = ("optim.lr=tag(log, interval(1e-4, 1e-1))", "data.batch_size=4,8")
ACTION = "CreateHyperParameterTuningJob"


@pytest.fixture
def tune(cli, tree, tmp_path):
    def run(*more, space=SPACE, preset="cpu"):
        words = [*QUICK, "data=folder", f"data.root={tree}", f"launch={preset}", "launch.wait=false"]
        return cli("launch.tune", *words, f"hydra.run.dir={tmp_path / 'search'}", *space, *more)

    return run


@pytest.fixture
def search(aws, tune, tmp_path):
    """Start a tuning job; return it as the stand-in has it."""

    def start(*more, **given):
        answer = tune(*more, **given)
        assert answer.code == 0, answer.err
        return aws.tuning_job(LaunchRecord.read(tmp_path / "search").job_name)

    yield start
    for tuning in list(aws_tuning_jobs(aws)):
        tuning.stop()
        for job in tuning.children:
            if not job.is_over:
                job.end("Stopped")


def aws_tuning_jobs(aws):
    from moto.sagemaker.models import sagemaker_backends

    return sagemaker_backends[aws.account][aws.region].hyper_parameter_tuning_jobs.values()


def child(tuning, number):
    wait_until(lambda: len(tuning.children) >= number)
    return tuning.children[number - 1]


def finish(tuning, number, value=None, status="Completed", reason=""):
    job = child(tuning, number)
    job.enter("Downloading")
    if value is not None:
        job.record_metric("val/acc_top1", value)
    job.end(status, reason)


def give(aws, tuning, number, **files):
    """Put what a job has written into S3."""
    job = child(tuning, number)
    root = job.request["OutputDataConfig"]["S3OutputPath"].removeprefix(f"s3://{aws.bucket}/").rstrip("/")
    folder = f"{root}/{job.training_job_name}/output"
    s3 = aws.worker.client("s3")
    state = {"state": "completed", "seconds": 1.0}
    contents = {"run/run.json": json.dumps(state), **{f"run/{name}": text for name, text in files.items()}}
    s3.put_object(Bucket=aws.bucket, Key=f"{folder}/output.tar.gz", Body=archive(contents))
    s3.put_object(Bucket=aws.bucket, Key=f"{folder}/model.tar.gz", Body=archive({"model.json": "{}"}))


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


@pytest.mark.parametrize(
    ("more", "space", "sentence"),
    [
        ((), (SPACE[0], "data.batch_size=int(interval(4, 8))"), "the range of data.batch_size was a list and is whole"),
        (("objective=val/loss",), SPACE, "went by val/acc_top1 and this one goes by val/loss"),
        (("optim.weight_decay=0.1",), SPACE, "was given other keys (optim.weight_decay"),
    ],
)
def test_a_parent_that_does_not_fit_moves_no_byte(aws, search, tune, tmp_path, more, space, sentence):
    parent = search("max_jobs=1")
    early = tune(f"hydra.run.dir={tmp_path / 'early'}", f"warm_start={parent.name}")
    assert "is not over" in early.err
    finish(parent, 1, 0.5)
    wait_until(lambda: parent.is_over)
    before = len(aws.sent(ACTION)), aws.worker.client("s3").list_objects_v2(Bucket=aws.bucket)["KeyCount"]
    answer = tune(f"hydra.run.dir={tmp_path / 'second'}", f"warm_start={parent.name}", *more, space=space)
    assert answer.code == 2
    assert sentence in answer.err
    assert before == (
        len(aws.sent(ACTION)),
        aws.worker.client("s3").list_objects_v2(Bucket=aws.bucket)["KeyCount"],
    )


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


# -- how it is followed and brought home ------------------------------------------------


def test_jobs_list_show_logs_and_stop(aws, search, jobs, tmp_path):
    tuning = search("max_jobs=9", "max_parallel=2", "launch.name=listed")
    finish(tuning, 1, 0.75)
    finish(tuning, 2, status="Failed", reason="AlgorithmError: No picture., exit code: 1")
    child(tuning, 4)
    shown = jobs("show", tmp_path / "search")
    assert shown.code == 0, shown.err
    pairs = dict(line.split(maxsplit=1) for line in shown.out.split("\n\n")[0].splitlines())
    assert pairs["status"] == "InProgress (2 of 9 jobs)"
    assert pairs["search"] == "Bayesian, 9 jobs, 2 at a time"
    assert pairs["machine"] == "1 × ml.c6i.2xlarge"
    assert pairs["objective"] == "val/acc_top1 0.75"
    first, *rest = shown.out.split("\n\n")[1].splitlines()[2:]
    assert first.split()[:2] == ["1", "0.75"]
    assert "Failed: No picture" in " ".join(rest)
    assert jobs("show", tuning.name, "--runs", tmp_path / "none").out.count("listed-") > 4

    listed = jobs("list", "--prefix", "listed")
    assert [line.split()[0] for line in listed.out.splitlines()[2:]] == [tuning.name]  # its jobs are told of with it

    log = jobs("logs", tuning.name).out.splitlines()
    assert any(line.startswith("#1 begins  data.batch_size=") for line in log)
    assert any(line.startswith("#1 done after") and line.endswith("val/acc_top1=0.75") for line in log)
    assert any(line.startswith("#2 failed") and "No picture" in line for line in log)

    answer = jobs("stop", tmp_path / "search", "--yes")
    assert answer.code == 0, answer.err
    assert all(job.stop_asked.is_set() for job in tuning.children if not job.is_over)
    for job in tuning.children:
        if not job.is_over:
            job.end("Stopped")
    wait_until(lambda: tuning.is_over)
    assert "is over: Stopped" in jobs("stop", tmp_path / "search").out


def test_following_tells_each_job_once_and_ends_with_the_search(aws, search, jobs, tmp_path):
    tuning = search("max_jobs=2")
    finish(tuning, 1, 0.5)
    finish(tuning, 2, 0.25)
    wait_until(lambda: tuning.is_over)
    answer = jobs("logs", "-f", tmp_path / "search", "--poll-s", "0.1")
    assert answer.code == 0, answer.err
    assert [line[:4] for line in answer.out.splitlines() if line.startswith("#")] == ["#1 b", "#1 d", "#2 b", "#2 d"]
    assert "val/acc_top1         0.5" in answer.out
    assert "#" not in jobs("logs", "-f", tmp_path / "search", "--poll-s", "0.1").out


def test_fetch_brings_the_runs_of_all_and_the_model_of_the_best(aws, search, jobs, tmp_path):
    tuning = search("max_jobs=3", "stop_early=true")
    give(aws, tuning, 1, **{"metrics.json": '{"val/acc_top1": 0.5}'})
    finish(tuning, 1, 0.5)
    give(aws, tuning, 2, **{"metrics.json": '{"val/acc_top1": 0.75}'})
    finish(tuning, 2, 0.75)
    child(tuning, 3).record_metric("val/acc_top1", 0.1)
    finish(tuning, 3, status="Stopped")
    wait_until(lambda: tuning.is_over)
    folder = tmp_path / "search"
    answer = jobs("fetch", folder)
    assert answer.code == 0, answer.err
    sweep = json.loads((folder / "sweep.json").read_text())
    assert sweep["engine"] == "bayesian"
    assert sweep["state"] == "completed"
    assert sweep["best"] == 2
    assert sweep["params"] == {"optim.lr": "tag(log, interval(0.0001, 0.1))", "data.batch_size": "choice(4, 8)"}
    rows = {row["number"]: row for row in sweep["trials"]}
    assert {number: (row["state"], row["values"]) for number, row in rows.items()} == {
        1: ("completed", [0.5]),
        2: ("completed", [0.75]),
        3: ("pruned", [0.1]),
    }
    assert rows[3]["reason"] == "SageMaker stopped it early, since it was behind the others"
    assert rows[1]["run_folder"] == "1"
    assert set(rows[1]["params"]) == {"optim.lr", "data.batch_size"}
    assert any(text.startswith("data.root=/") for text in rows[1]["overrides"])  # as typed, not as in the job
    assert not any("launch" in text for text in rows[1]["overrides"])
    assert (folder / "2" / "model" / "model.json").is_file()
    assert not (folder / "1" / "model").exists()
    assert "has all of it since" in jobs("fetch", folder).out
    assert jobs("fetch", folder, "--all").code == 0
    assert (folder / "1" / "model" / "model.json").is_file()


def test_fetch_of_one_that_runs_says_what_there_is(aws, search, jobs, tmp_path):
    tuning = search("max_jobs=3")
    finish(tuning, 1, 0.5)
    child(tuning, 2)
    answer = jobs("fetch", tuning.name, "--into", tmp_path / "home", "--runs", tmp_path / "none")
    assert answer.code == 0, answer.err
    sweep = json.loads((tmp_path / "home" / "sweep.json").read_text())
    assert sweep["state"] == "running"
    assert [row["state"] for row in sweep["trials"]] == ["completed", "running"]
    # Without a folder that knows what was typed, the data are where the jobs had them from.
    (root,) = [text for text in sweep["trials"][0]["overrides"] if text.startswith("data.root=")]
    assert root.startswith(f'data.root="s3://{aws.bucket}/dogbreed/data/')


# -- the winner -------------------------------------------------------------------------


@pytest.fixture
def won(aws, search, monkeypatch, tmp_path):
    """A search that is over, its second job the best."""
    tuning = search("max_jobs=2", "trainer.max_epochs=3")
    finish(tuning, 1, 0.5)
    finish(tuning, 2, 0.75)
    wait_until(lambda: tuning.is_over)
    return tuning


def retrained(aws, cli, name, *more):
    answer = cli("launch.train", *more, f"from_tuning={name}", "launch=cpu", "launch.wait=false", "hydra.run.dir=w")
    assert answer.code == 0, answer.err
    return answer, from_hyperparameters(aws.sent("CreateTrainingJob")[-1]["HyperParameters"])


def test_the_winner_is_trained_with_what_it_was_given_and_more(aws, cli, won, tmp_path):
    answer, overrides = retrained(aws, cli, tmp_path / "search")
    tuned = read_tuned(won, 2)
    given = dict(text.split("=", 1) for text in overrides)
    assert float(given["optim.lr"]) == tuned["optim.lr"]
    assert int(given["data.batch_size"]) == tuned["data.batch_size"]
    assert given["trainer.max_epochs"] == "6"  # twice as long
    assert given["test_after_fit"] == "true"
    assert given["data.root"] == "${oc.env:SM_CHANNEL_DATA}"
    assert f"sweep:'{won.name}',trial:2,objective:'val/acc_top1',value:0.75" in given["origin"]
    assert "winner  trial 2 of" in answer.out
    assert "max_jobs" not in given


def test_from_another_machine_the_data_are_where_they_were(aws, cli, won, tmp_path):
    (tmp_path / "search" / "launch.json").unlink()
    before = aws.worker.client("s3").list_objects_v2(Bucket=aws.bucket)["KeyCount"]
    _, overrides = retrained(aws, cli, won.name, "trainer.max_epochs=1", "data.batch_size=2")
    assert "trainer.max_epochs=1" in overrides
    assert "data.batch_size=2" in overrides
    source = aws.sent("CreateTrainingJob")[-1]["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    assert source == won.request["TrainingJobDefinition"]["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    assert aws.worker.client("s3").list_objects_v2(Bucket=aws.bucket)["KeyCount"] == before


def read_tuned(tuning, number):
    texts = tuning.tuned[tuning.children[number - 1].training_job_name]
    return {key: read_value(key, text) for key, text in texts.items()}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["from_tuning=nobody"], "There is no training job nobody"),
        (["from_tuning={name}", "-m"], "trains the one winner: leave -m out"),
        (["from_tuning={name}", "from_sweep=x"], "name two winners"),
    ],
)
def test_a_winner_that_cannot_be_trained_is_one_sentence(aws, cli, won, more, sentence):
    answer = cli("launch.train", *[text.format(name=won.name) for text in more], "launch=cpu")
    assert answer.code == 2
    assert sentence in answer.err
    assert "Traceback" not in answer.err


def test_nobody_has_won_yet(aws, cli, search, tmp_path):
    search("max_jobs=2")
    answer = cli("launch.train", f"from_tuning={tmp_path / 'search'}", "launch=cpu")
    assert answer.code == 2
    assert "nobody has won yet" in answer.err


# -- the service --------------------------------------------------------------------------


def test_a_launch_that_lost_its_answer_is_no_clash_with_itself(aws, search, connection, tmp_path):
    from launch.aws.tuning_jobs import TuningJobs

    tuning = search("max_jobs=2")
    service = TuningJobs(connection)
    request = LaunchRecord.read(tmp_path / "search").request
    assert service.create(request) == tuning.arn
    other = {**request, "HyperParameterTuningJobConfig": {**request["HyperParameterTuningJobConfig"], "RandomSeed": 9}}
    with pytest.raises(Exception, match=r"exists already in us-east-1: choose another with launch.name=NAME"):
        service.create(other)
