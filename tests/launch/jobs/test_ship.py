"""What launch.train sends, and what it refuses before anything travels: the whole command against the stand-in."""

import json

import pytest
from helpers import QUICK

STANDIN = "driven"
PRICES = "us-east-1: {ml.c6i.2xlarge: 0.5}\n"  # made up


@pytest.fixture
def ship(cli, tree, tmp_path):
    def run(*more, preset="cpu", data=tree):
        words = [*QUICK, "data=folder", f"data.root={data}", f"launch={preset}", "launch.wait=false"]
        return cli("launch.train", *words, f"hydra.run.dir={tmp_path / 'run'}", *more)

    return run


def num_stored(aws):
    return aws.worker.client("s3").list_objects_v2(Bucket=aws.bucket).get("KeyCount", 0)


def test_a_run_is_sent_once_and_its_data_are_there_the_next_time(aws, ship, tmp_path):
    answer = ship()
    assert answer.code == 0, answer.err
    (request,) = aws.sent("CreateTrainingJob")
    record = json.loads((tmp_path / "run" / "launch.json").read_text())
    assert record["request"] == request
    assert record["submitted"]
    assert f"python -m launch.jobs logs -f {tmp_path / 'run'}" in answer.out
    assert "sent" in answer.err
    assert request["HyperParameters"]["launch"] == '"cpu"'
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"].startswith(f"s3://{aws.bucket}/")
    stored = num_stored(aws)

    taken = ship()
    assert taken.code == 2
    assert "belongs to another job" in taken.err
    again = ship(f"hydra.run.dir={tmp_path / 'again'}")
    assert again.code == 0, again.err
    assert again.err.count("there already") == 2  # code and data
    assert num_stored(aws) == stored
    assert len(aws.sent("CreateTrainingJob")) == 2


def test_what_may_cost_too_much_moves_no_byte(aws, ship, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    before = num_stored(aws), len(aws.sent("CreateTrainingJob"))
    known = ship(f"launch.prices={prices}", "launch.max_run_s=7080", "launch.max_cost_usd=0.99")
    assert known.code == 2
    assert "1.00 USD" in known.err
    unknown = ship("launch.max_cost_usd=100", f"hydra.run.dir={tmp_path / 'unknown'}")
    assert unknown.code == 2
    assert "unknown" in unknown.err
    assert before == (num_stored(aws), len(aws.sent("CreateTrainingJob")))
    enough = ship(f"launch.prices={prices}", "launch.max_run_s=7080", "launch.max_cost_usd=1")
    assert enough.code == 0, enough.err
    assert json.loads((tmp_path / "run" / "launch.json").read_text())["most_usd"] == 1.0


def test_a_dry_run_needs_no_aws_and_leaves_nothing(aws, ship, monkeypatch, tmp_path):
    for name in aws.environment:
        monkeypatch.delenv(name, raising=False)
    before = len(aws.sent("CreateTrainingJob"))
    answer = ship("launch.dry_run=true", "hydra.run.dir=runs/one")
    assert answer.code == 0, answer.err
    request = json.loads(answer.out[answer.out.index("{") : answer.out.index("\n-- code")])
    assert request["ResourceConfig"]["InstanceType"] == "ml.c6i.2xlarge"
    assert "Dry run: nothing was sent." in answer.out
    assert "<region>" in answer.out
    assert not (tmp_path / "runs").exists()
    assert len(aws.sent("CreateTrainingJob")) == before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["launch.instance_type=ml.c6i.2xlrge"], "ml.c6i.2xlarge"),
        (["launch.instance_type=ml.g4dn.xlarge"], "idle"),
        (["trainer.precision=bf16-true", "launch.instance_type=ml.g4dn.xlarge", "trainer.accelerator=gpu"], "bfloat16"),
        (["launch.spot=true", "launch.checkpoints=false"], "launch.checkpoints"),
        (["launch.role=nobody"], "launch.role=nobody does not exist"),
        (["launch.bucket=Not_A_Bucket"], "launch.bucket"),
        (["launch.region=eu-centrall-1"], "eu-central-1"),
        (["launch.image_version=1.4"], "launch.image_version=1.4"),
        (["launch.max_run_s=soon"], "launch.max_run_s=soon"),
        (["launch.nothing=1"], "launch.nothing"),
        (["data.root=/nowhere/photos"], "data.root=/nowhere/photos"),
        (["seed=0,1", "-m"], "hydra/launcher=sagemaker"),
        (["-m", "seed=0,1"], "hydra/launcher=sagemaker"),
    ],
)
def test_what_cannot_be_shipped_is_one_sentence(aws, ship, more, sentence):
    before = len(aws.sent("CreateTrainingJob"))
    answer = ship(*more)
    assert answer.code == 2
    assert sentence in answer.err
    assert "Traceback" not in answer.err
    assert len(aws.sent("CreateTrainingJob")) == before


def test_without_credentials_region_or_role(aws, ship, monkeypatch):
    monkeypatch.delenv("SAGEMAKER_ROLE")
    assert "launch.role=ARN" in ship().err
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "launch.region=eu-central-1" in ship().err
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    answer = ship("launch.region=us-east-1")
    assert answer.code == 2
    assert "credentials" in answer.err.lower()


def test_an_unknown_machine_has_a_neighbour(aws, ship):
    answer = ship(preset="a10gg")
    assert answer.code == 2
    assert "a10g" in answer.err


def test_no_machine_is_named(aws, cli):
    answer = cli("launch.train", *QUICK)
    assert answer.code == 2
    assert "launch=a10g" in answer.err


def test_help_names_every_machine(cli):
    answer = cli("launch.train", "--help")
    assert answer.code == 0
    assert "launch.dry_run=true" in answer.out
    assert "h100" in answer.out
