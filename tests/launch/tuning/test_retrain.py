"""The winner of a tuning job, trained properly."""

import pytest

from launch.overrides import from_hyperparameters
from launch.tuning.ranges import read_value

STANDIN = "driven"


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
