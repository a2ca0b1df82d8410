"""A stand-in, and the command that starts tuning jobs there."""

import pytest
from helpers import QUICK
from launch_jobs import wait_until
from launch_standin import aws, connection, driven, jobs, running, service, store  # noqa: F401
from tuning_jobs import SPACE, all_tuning_jobs, finish

from launch.record import LaunchRecord


@pytest.fixture
def tune(cli, tree, tmp_path):
    def run(*more, space=SPACE, preset="cpu"):
        words = [*QUICK, "data=folder", f"data.root={tree}", f"launch={preset}", "launch.wait=false"]
        return cli("launch.tune", *words, f"hydra.run.dir={tmp_path / 'search'}", *space, *more)

    return run


@pytest.fixture
def search(aws, tune, tmp_path):  # noqa: F811
    """Start a tuning job; return it as the stand-in has it."""

    def start(*more, **given):
        answer = tune(*more, **given)
        assert answer.code == 0, answer.err
        return aws.tuning_job(LaunchRecord.read(tmp_path / "search").job_name)

    yield start
    for tuning in list(all_tuning_jobs(aws)):
        tuning.stop()
        for job in tuning.children:
            if not job.is_over:
                job.end("Stopped")


@pytest.fixture
def won(search):
    """A search that is over, its second job the best."""
    tuning = search("max_jobs=2", "trainer.max_epochs=3")
    finish(tuning, 1, 0.5)
    finish(tuning, 2, 0.75)
    wait_until(lambda: tuning.is_over)
    return tuning
