"""Bringing run folders home: whole, once, safely, and what there is of jobs that failed or run."""

import io
import json
import tarfile

import pytest
from launch_jobs import archive, request

from dogbreed.errors import UserError
from launch.fetch import extract, fetch

OUTPUT = {
    "run/metrics.json": '{"val/acc_top1": 0.5}',
    "run/.hydra/config.yaml": "of: the job",
    "run/tensorboard/events.1": b"\0\1",
    "run/launch.json": "{}",
    "other.txt": "beside",
}
MODEL = {"model.json": "{}", "model.safetensors": b"\0" * 1000}


@pytest.fixture
def job(aws, service, store):
    """Make a job with what it has written; over, with the given status."""

    def make(name, status="Completed", output=OUTPUT, model=MODEL, checkpoints=("last.ckpt",)):
        asked = request(aws, name)
        service.create(asked)
        root = f"dogbreed/jobs/{name}"
        for part, files in (("output", output), ("model", model)):
            if files is not None:
                data = files if isinstance(files, bytes) else archive(files)
                store.put_bytes(data, f"{root}/output/{name}/output/{part}.tar.gz")
        for checkpoint in checkpoints:
            store.put_bytes(checkpoint.encode(), f"{root}/checkpoints/{checkpoint}")
        if status != "InProgress":
            aws.job(name).end(status)
        return service.describe(name).description

    return make


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_folder_comes_home(job, store, tmp_path):
    run = tmp_path / "run"
    told = []
    fetched = fetch(store, job("whole", checkpoints=("last.ckpt", "more/best.ckpt")), run, told.append)
    assert fetched.parts == ("run", "model", "checkpoints")
    found = contents(run)
    assert sorted(found) == [
        ".hydra/config.yaml",
        "checkpoints/last.ckpt",
        "checkpoints/more/best.ckpt",
        "metrics.json",
        "model/model.json",
        "model/model.safetensors",
        "output/other.txt",
        "tensorboard/events.1",
    ]
    assert found["checkpoints/more/best.ckpt"] == b"more/best.ckpt"
    assert fetched.num_files == 8
    assert "fetching output.tar.gz (0.0 MB)" in told


def test_what_the_launch_wrote_into_the_folder_stays(job, store, tmp_path):
    run = tmp_path / "run"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "config.yaml").write_text("of: the launch")
    (run / "launch.json").write_text("ours")
    fetch(store, job("kept"), run)
    assert (run / ".hydra" / "config.yaml").read_text() == "of: the launch"
    assert (run / "launch.json").read_text() == "ours"


def test_once_more_changes_nothing(job, store, tmp_path):
    run, description = tmp_path / "run", job("twice")
    fetch(store, description, run)
    before = contents(run)
    fetch(store, description, run)
    assert contents(run) == before


class BreakingStore:
    """A store whose reads break off after so many."""

    def __init__(self, store, num_reads):
        self._store, self.num_left, self.read = store, num_reads, []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def get_file(self, key, path):
        if self.num_left == 0:
            raise UserError("Downloading failed: the connection broke off.")
        self.num_left -= 1
        self.read.append(key.rpartition("/")[2])
        self._store.get_file(key, path)


def test_a_broken_fetch_goes_on_where_it_was(job, store, tmp_path):
    run, description = tmp_path / "run", job("broken-off", checkpoints=("a.ckpt", "b.ckpt", "c.ckpt"))
    read = []
    for num_reads in (1, 1, 2):
        breaking = BreakingStore(store, num_reads)
        with pytest.raises(UserError, match="broke off"):
            fetch(breaking, description, run)
        read += breaking.read
    rest = BreakingStore(store, 100)
    fetch(rest, description, run)
    assert read + rest.read == ["output.tar.gz", "model.tar.gz", "a.ckpt", "b.ckpt", "c.ckpt"]
    assert not (run / ".fetch").exists()
    assert {"metrics.json", "model/model.json", "checkpoints/c.ckpt"} <= set(contents(run))


def test_a_failed_job_gives_its_output_and_checkpoints(job, store, tmp_path):
    fetched = fetch(store, job("failed", "Failed", model=None), tmp_path / "run")
    assert fetched.parts == ("run", "checkpoints")


def test_a_running_job_gives_its_checkpoints_anew_each_time(job, store, tmp_path, aws):
    run = tmp_path / "run"
    description = job("running", "InProgress", output=None, model=None)
    assert fetch(store, description, run).parts == ("checkpoints",)
    store.put_bytes(b"LAST.CKPT", "dogbreed/jobs/running/checkpoints/last.ckpt")  # the same size
    fetch(store, description, run)
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == b"LAST.CKPT"


def test_a_job_that_has_written_nothing_is_no_error(job, store, tmp_path):
    nothing = job("nothing", "Stopped", output=None, model=None, checkpoints=())
    assert fetch(store, nothing, tmp_path / "run").parts == ()


@pytest.mark.parametrize("name", ["../escape", "run/../../escape", "/tmp/escape", "run/a/../../../b"])
def test_an_archive_cannot_write_outside(job, store, tmp_path, name):
    description = job(f"escape-{abs(hash(name))}", output={"run/metrics.json": "{}", name: "!"})
    with pytest.raises(UserError, match="no plain file inside it: nothing of it was used"):
        fetch(store, description, tmp_path / "deep" / "run")
    assert not (tmp_path / "deep" / "run" / "metrics.json").exists()
    assert not list(tmp_path.rglob("escape*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("run/link")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(info)
    with pytest.raises(UserError, match="run/link, which is no plain file"):
        extract(tmp_path / "a.tar.gz", tmp_path / "out")


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"no archive at all"])
def test_a_damaged_archive_is_told_and_fetched_anew(job, store, tmp_path, damage):
    name = f"damaged-{len(damage(archive(MODEL)))}"
    noise = io.BytesIO(bytes(range(256)) * 40).read()
    description = job(name, model=damage(archive(MODEL | {"noise": noise})))
    with pytest.raises(UserError, match=r"model\.tar\.gz is damaged .*: call again"):
        fetch(store, description, tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
    store.put_bytes(archive(MODEL), f"dogbreed/jobs/{name}/output/{name}/output/model.tar.gz")
    fetch(store, description, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "model" / "model.json").read_text()) == {}
