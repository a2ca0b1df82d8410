"""Reading a job's log: every line once, in order, over pages, streams, restarts, refused tokens and faults."""

import time

import pytest
from launch_jobs import log, request

from dogbreed.errors import UserError
from launch.aws import logs as logs_module
from launch.aws.logs import read_log
from launch.aws.transient import TransientError
from launch.protocols import LogPosition


@pytest.fixture
def client(aws):
    import boto3

    return boto3.client("logs", config=boto3.session.Config(retries={"total_max_attempts": 3}))


@pytest.fixture
def now_ms():
    return time.time_ns() // 1_000_000


def texts(lines):
    return [line.text for line in lines]


def read_on(client, name, position):
    """Read until nothing is new."""
    lines = []
    while True:
        new, reached = read_log(client, name, position)
        lines += texts(new)
        if not new and reached == position:
            return lines, reached
        position = reached


def test_a_job_without_a_stream_has_no_line_yet(aws, client):
    assert read_log(client, "silent", None) == ([], LogPosition({}))
    client.create_log_stream(logGroupName=logs_module.LOG_GROUP, logStreamName="silent/algo-1-1")
    lines, position = read_log(client, "silent", None)
    assert lines == []
    log(aws, "silent").write([(time.time_ns() // 1_000_000, "at last")])
    assert read_on(client, "silent", position)[0] == ["at last"]


def test_an_account_without_any_job_has_no_line_yet(aws, client):
    assert read_log(client, "silent", None, "/aws/sagemaker/Nothing") == ([], LogPosition({}))


def test_lines_come_by_time_then_machine(aws, client, now_ms):
    first, second = log(aws, "pair", "algo-1"), log(aws, "pair", "algo-2")
    first.write([(now_ms, "a1"), (now_ms + 2, "a2"), (now_ms + 2, "a3")])
    second.write([(now_ms, "b1"), (now_ms + 1, "b2"), (now_ms + 2, "b3")])
    lines, position = read_log(client, "pair", None)
    assert texts(lines) == ["a1", "b1", "b2", "a2", "a3", "b3"]
    assert [line.host for line in lines[:2]] == ["algo-1", "algo-2"]
    assert read_on(client, "pair", position)[0] == []


def test_other_jobs_of_a_name_that_begins_alike_are_not_read(aws, client, now_ms):
    log(aws, "alike").write([(now_ms, "mine")])
    log(aws, "alike-2").write([(now_ms, "another's")])
    assert read_on(client, "alike", None)[0] == ["mine"]


def test_a_restarted_jobs_new_stream_goes_on(aws, client, now_ms):
    log(aws, "again").write([(now_ms, "before")])
    lines, position = read_on(client, "again", None)
    log(aws, "again").write([(now_ms + 1, "after")])
    assert lines + read_on(client, "again", position)[0] == ["before", "after"]


def test_pages_neither_lose_nor_double(aws, client, now_ms, monkeypatch):
    monkeypatch.setattr(logs_module, "MAX_LINES", 7)
    expected = [f"line {number}" for number in range(50)]
    # Many of one time, so that pages end within it.
    log(aws, "pages").write([(now_ms + number // 20, text) for number, text in enumerate(expected)])
    assert read_on(client, "pages", None)[0] == expected


@pytest.mark.parametrize(("num_read", "page"), [(0, 7), (1, 10_000), (20, 3), (21, 10_000), (33, 3), (50, 7)])
def test_a_refused_token_is_made_up_for_by_the_time(aws, client, now_ms, monkeypatch, num_read, page):
    name = f"expired-{num_read}-{page}"
    expected = [f"line {number}" for number in range(60)]
    stream = log(aws, name)
    entries = [(now_ms + number // 20, text) for number, text in enumerate(expected)]
    lines, position = [], None
    if num_read:
        stream.write(entries[:num_read])
        lines, position = read_on(client, name, None)
        # As a day later: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html
        spoilt = {key: value.replace('"f/', '"gone/', 1) for key, value in position.tokens.items()}
        assert spoilt != position.tokens
        position = LogPosition(spoilt)
        stream.write(entries[num_read:])
    else:
        stream.write(entries)
    monkeypatch.setattr(logs_module, "MAX_LINES", page)
    assert lines + read_on(client, name, position)[0] == expected


@pytest.mark.slow
def test_throttling_on_every_call_costs_time_but_no_line(aws, client, now_ms):
    expected = [f"line {number}" for number in range(5)]
    log(aws, "throttled").write([(now_ms, text) for text in expected])
    aws.faults.set(throttle_attempts=2)
    assert read_on(client, "throttled", None)[0] == expected


def test_what_passes_by_itself_is_told_from_what_does_not(aws, client):
    aws.faults.set(throttle_every=1)
    with pytest.raises(TransientError, match="too many requests"):
        read_log(client, "any", None)
    aws.faults.clear()
    aws.disconnect()
    with pytest.raises(TransientError, match="cannot be reached"):
        read_log(client, "any", None)
    aws.reconnect()
    aws.faults.set(expire_after=0)
    with pytest.raises(UserError, match="expired") as caught:
        read_log(client, "any", None)
    assert not isinstance(caught.value, TransientError)


def test_a_request_whose_answer_was_lost_is_no_clash(aws, service):
    asked = request(aws, "lost-answer")
    arn = service.create(asked)
    assert service.create(asked) == arn  # what the SDK does when no answer came
    other = asked | {"OutputDataConfig": {"S3OutputPath": f"s3://{aws.bucket}/elsewhere"}}
    with pytest.raises(UserError, match="exists already in us-east-1: choose another with launch.name"):
        service.create(other)


def test_states_say_what_has_become_of_a_job(aws, service):
    from launch.aws.jobs import UnknownJobError

    service.create(request(aws, "told"))
    job = aws.job("told")
    job.enter("Downloading")
    job.enter("Training")
    job.record_metric("val/acc_top1", 0.25)
    state = service.describe("told")
    assert (state.status, state.phase, state.metrics) == ("InProgress", "Training", {"val/acc_top1": 0.25})
    assert not state.is_over
    job.end("Failed", "AlgorithmError: out of memory, exit code: 1")
    assert service.describe("told").message == "AlgorithmError: out of memory, exit code: 1"
    service.stop("told")  # over: stays as it is
    assert service.describe("told").status == "Failed"
    with pytest.raises(UnknownJobError, match="no training job unheard-of in us-east-1"):
        service.describe("unheard-of")
    with pytest.raises(UnknownJobError):
        service.stop("unheard-of")


def test_only_our_jobs_are_listed(aws, service):
    theirs = request(aws, "listed-theirs")
    aws.worker.client("sagemaker").create_training_job(**theirs | {"HyperParameters": {"a": "1"}})
    for number in range(10):
        service.create(request(aws, f"listed-{number}"))
    assert [state.name for state in service.list_ours("listed", 3)] == ["listed-9", "listed-8", "listed-7"]
    assert len(service.list_ours("listed", 100)) == 10
    assert service.list_ours("isted", 5) == []


def test_quota_and_permission_are_sentences(aws, service):
    quota = "The account-level service limit 'ml.p5.48xlarge for training job usage' is 0 Instances"
    aws.faults.set(errors={"CreateTrainingJob": ["ResourceLimitExceeded", quota]})
    with pytest.raises(UserError, match="quota 'ml.p5.48xlarge for training job usage'"):
        service.create(request(aws, "refused"))
    aws.faults.set(errors={"StopTrainingJob": ["AccessDeniedException", "User: u is not authorized to perform: x:Y"]})
    service.create(request(aws, "not-stoppable"))
    with pytest.raises(UserError, match="not permitted"):
        service.stop("not-stoppable")
