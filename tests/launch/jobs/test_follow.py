"""Following a job: what is shown, and that nothing of it is lost or doubled whatever comes between."""

import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest
from launch_jobs import log, request, wait_until

from dogbreed.errors import UserError
from launch.follow import check_outcome, follow
from launch.record import LaunchRecord

POLL_S = 0.05


@pytest.fixture
def launch(aws, service, tmp_path):
    """Start a job and give its record, which is in a run folder."""

    def start(name, **more):
        asked = request(aws, name, **more)
        service.create(asked)
        record = LaunchRecord(job_name=name, region=aws.region, request=asked, endpoint_url=aws.url)
        run_dir = tmp_path / "runs" / name
        run_dir.mkdir(parents=True)
        record.write(run_dir)
        return record, run_dir

    return start


def now_ms():
    return time.time_ns() // 1_000_000


def drive(*steps, pause_s=0.15):
    """Do things one after the other in a thread, as a job does."""

    def run():
        for step in steps:
            time.sleep(pause_s)
            step()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def lines_of(text):
    return [line for line in text.splitlines() if line.startswith("line ")]


def test_phases_lines_and_metrics_are_shown_as_they_come(aws, service, launch, capfd):
    record, run_dir = launch("shown")
    job, stream = aws.job("shown"), log(aws, "shown")
    thread = drive(
        lambda: job.enter("Training"),
        lambda: stream.write([(now_ms(), "line 1"), (now_ms(), "line 2")]),
        lambda: job.record_metric("val/acc_top1", 0.75),
        lambda: job.enter("Uploading"),
        lambda: job.end("Completed"),
        lambda: stream.write([(now_ms(), "line 3, later than the end")]),  # CloudWatch takes its time
    )
    state = follow(service, record, run_dir, poll_s=POLL_S, settle_s=0.3)
    thread.join()
    out, err = capfd.readouterr()
    assert lines_of(out) == ["line 1", "line 2", "line 3, later than the end"]
    assert "val/acc_top1        0.75" in out
    phases = [line.split()[2] for line in err.splitlines()]
    assert phases[-3:] == ["Training", "Uploading", "Completed"]
    assert phases[:-3] in (["Starting"], [])  # a busy machine's first look may come later
    check_outcome(state)
    kept = LaunchRecord.read(run_dir)
    assert (kept.state, kept.secondary_state, kept.failure) == ("Completed", "Completed", None)


def test_a_failed_job_ends_in_its_own_sentence(aws, service, launch, capfd):
    record, run_dir = launch("broken")
    aws.job("broken").end(
        "Failed", "AlgorithmError: No picture is in /opt/ml/input/data: put some there., exit code: 2"
    )
    state = follow(service, record, run_dir, poll_s=POLL_S, settle_s=0.3)
    with pytest.raises(UserError) as caught:
        check_outcome(state)
    assert str(caught.value) == "The job broken failed: No picture is in /opt/ml/input/data: put some there."
    assert LaunchRecord.read(run_dir).state == "Failed"


@pytest.mark.parametrize(
    ("phase", "words"),
    [(None, "was stopped before its end"), ("MaxRuntimeExceeded", "reached its limit, launch.max_run_s")],
)
def test_a_stopped_job_says_by_what_and_what_can_be_had_of_it(aws, service, launch, phase, words):
    name = f"stopped-{phase}"
    record, run_dir = launch(name)
    aws.job(name).end("Stopped", phase=phase)
    with pytest.raises(UserError, match=f"{words}.* python -m launch.jobs fetch {name}"):
        check_outcome(follow(service, record, run_dir, poll_s=POLL_S, settle_s=0.3))


def test_an_empty_log_ends_with_the_job(aws, service, launch, capfd):
    record, run_dir = launch("silent")
    log(aws, "silent")
    aws.job("silent").end("Completed")
    assert follow(service, record, run_dir, poll_s=POLL_S, settle_s=0.3).status == "Completed"
    assert capfd.readouterr().out == ""


def test_machines_are_named_where_there_are_several(aws, service, launch, capfd):
    two = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30}
    record, run_dir = launch("several", ResourceConfig=two)
    log(aws, "several", "algo-1").write([(now_ms(), "one")])
    log(aws, "several", "algo-2").write([(now_ms() + 1, "two")])
    aws.job("several").end("Completed")
    follow(service, record, run_dir, poll_s=POLL_S, settle_s=0.3)
    assert capfd.readouterr().out == "algo-1  one\nalgo-2  two\n"


def test_ctrl_c_and_following_again_neither_lose_nor_double(aws, service, launch, capfd):
    _, run_dir = launch("left")
    job, stream = aws.job("left"), log(aws, "left")
    count = 100
    is_done = threading.Event()

    def chatter():
        for number in range(count):
            stream.write([(now_ms(), f"line {number}")])
        is_done.set()

    writer = threading.Thread(target=chatter)
    writer.start()
    num_interruptions = 0
    while not is_done.is_set():
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt, match=f"goes on: python -m launch.jobs logs -f {run_dir}"):
            follow(service, LaunchRecord.read(run_dir), run_dir, poll_s=0.01, settle_s=0.1)
        num_interruptions += 1
    writer.join()
    job.end("Completed")
    follow(service, LaunchRecord.read(run_dir), run_dir, poll_s=0.01, settle_s=0.1)
    assert lines_of(capfd.readouterr().out) == [f"line {number}" for number in range(count)]
    assert num_interruptions >= 2


def test_a_lost_network_is_told_of_once_and_waited_for(aws, service, launch, capfd):
    record, run_dir = launch("cut-off")
    job, stream = aws.job("cut-off"), log(aws, "cut-off")
    told = []

    def wait_until_told():
        wait_until(lambda: told.append(capfd.readouterr()) or any("The job goes on" in err for _, err in told))

    thread = drive(
        lambda: stream.write([(now_ms(), "line 1")]),
        aws.disconnect,
        lambda: stream.write([(now_ms(), "line 2")]),
        wait_until_told,
        aws.reconnect,
        lambda: stream.write([(now_ms(), "line 3")]),
        lambda: job.end("Completed"),
    )
    assert follow(service, record, run_dir, poll_s=POLL_S, settle_s=0.3).status == "Completed"
    thread.join()
    told.append(capfd.readouterr())
    out, err = ("".join(parts) for parts in zip(*told, strict=True))
    assert lines_of(out) == ["line 1", "line 2", "line 3"]
    assert err.count("AWS cannot be reached") == err.count("AWS answers again.") == 1


@pytest.mark.slow
def test_throttling_on_every_call_changes_nothing_that_is_shown(aws, service, launch, capfd):
    record, run_dir = launch("slowed")
    log(aws, "slowed").write([(now_ms(), "line 1")])
    aws.job("slowed").end("Completed")
    aws.faults.set(throttle_attempts=1)
    follow(service, record, run_dir, poll_s=POLL_S, settle_s=0.3)
    out, err = capfd.readouterr()
    assert lines_of(out) == ["line 1"]
    assert "too many" not in err


def test_expired_credentials_end_the_following_with_the_remedy(aws, service, launch):
    record, run_dir = launch("expired")
    aws.faults.set(expire_after=3)
    with pytest.raises(UserError, match="expired: log in anew"):
        follow(service, record, run_dir, poll_s=POLL_S, settle_s=0.3)


def on_terminal(arguments, answer):
    """Run a command at a terminal, send Ctrl-C at its first line, then an answer; return code and output."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.jobs", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 -- a single system call
    )
    os.close(theirs)
    seen = b""
    for until, keys in ((b"line 1", b"\x03"), (b"[y/N]", answer + b"\n")):
        while until not in seen:
            seen += os.read(ours, 1000)
        os.write(ours, keys)
    while True:
        try:
            piece = os.read(ours, 1000)
        except OSError:  # the terminal's end
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    return process.wait(30), seen.decode()


@pytest.mark.parametrize(
    ("answer", "status"), [(b"y", "Stopping"), pytest.param(b"", "InProgress", marks=pytest.mark.slow)]
)
def test_ctrl_c_at_a_terminal_asks_whether_to_stop_the_job(aws, launch, answer, status):
    name = f"asked-{status.lower()}"
    _, run_dir = launch(name)
    log(aws, name).write([(now_ms(), "line 1")])
    code, seen = on_terminal(["logs", "-f", str(run_dir), "--poll-s", "0.1"], answer)
    assert code == 130
    assert aws.job(name).training_job_status == status
    assert ("is being stopped" if answer else "goes on: python -m launch.jobs logs -f") in seen


@pytest.mark.slow
def test_a_long_log_needs_no_more_memory_than_a_short_one(aws, service, launch, capfd):
    peaks = []
    for count in (20_000, 200_000):
        record, run_dir = launch(f"long-{count}")
        log(aws, f"long-{count}").write([(now_ms(), f"line {number:060d}") for number in range(count)])
        aws.job(f"long-{count}").end("Completed")
        peaks.append(0)
        inner = service.read_log

        def measured(*args, inner=inner):
            tracemalloc.start()  # what moto keeps is not ours: count from each page's request to the next
            answer = inner(*args)
            peaks[-1] = max(peaks[-1], tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            return answer

        service.read_log = measured
        follow(service, record, run_dir, poll_s=POLL_S, settle_s=0.3)
        service.read_log = inner
        assert len(lines_of(capfd.readouterr().out)) == count
    assert peaks[1] < 1.5 * peaks[0], peaks
