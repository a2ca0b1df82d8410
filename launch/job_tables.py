"""What `launch.jobs` prints of jobs: one line each, or all about one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dogbreed.tables import format_table
from launch.fetch import output_of
from launch.follow import failure_of, num_machines
from launch.job_lookup import Job, Lookup
from launch.protocols import JobState
from launch.record import LaunchRecord

COLUMNS = ("job", "status", "phase", "age", "seconds", "USD ≤", "objective", "run folder")
DEFAULT_OBJECTIVE = "val/acc_top1"


def list_jobs(lookup: Lookup, prefix: str, limit: int) -> str:
    """Make a table of the newest jobs, of AWS and of run folders.

    Args:
        lookup: Where they are.
        prefix: Beginning of their names.
        limit: At most so many.

    Raises:
        UserError: AWS cannot be asked.
    """
    aws = lookup.connect(*_newest_place(lookup))
    states = lookup.list_all(aws, prefix, limit)
    known = {record.job_name: (run_dir, record) for run_dir, record in reversed(lookup.records)}
    rows = [_row(state, *known.get(state.name, (None, None))) for state in states]
    if not rows:
        with_prefix = f" whose names begin with {prefix}" if prefix else ""
        return f"{aws.region} has no jobs of ours{with_prefix}."
    return format_table(COLUMNS, rows)


def _newest_place(lookup: Lookup) -> tuple[str | None, str | None]:
    """Return region and address of the newest run folder's job; nothing where the AWS configuration says it."""
    import os

    if os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or not lookup.records:
        return None, None
    record = lookup.records[0][1]
    return record.region, record.endpoint_url


def _row(state: JobState, run_dir: Path | None, record: LaunchRecord | None) -> list[object]:
    return [
        state.name,
        state.status,
        state.phase,
        age_of(state.description["CreationTime"]),
        state.billable_s,
        cost_bound(state, record),
        _objective(state)[1],
        str(run_dir) if run_dir else None,
    ]


def describe_job(job: Job) -> str:
    """Tell all about one job, as lines of text.

    Args:
        job: The job.

    Raises:
        UserError: AWS cannot be asked.
    """
    state = job.service.describe(job.record.job_name)
    job.keep(state)
    definition = state.description.get("TrainingJobDefinition") or state.description
    resources = definition.get("ResourceConfig") or definition.get("TransformResources") or {}
    spot = ", spot" if definition.get("EnableManagedSpotTraining") else ""
    name, value = _objective(state)
    bound, most = cost_bound(state, job.record), job.record.most_usd
    pairs = [
        ("job", state.name),
        ("status", f"{state.status} ({state.phase})" if state.phase != state.status else state.status),
        ("failure", failure_of(state) if state.status == "Failed" else None),
        ("search", _search(state)),
        ("machine", f"{num_machines(definition)} × {resources.get('InstanceType', '?')}{spot}"),
        ("asked for", f"{age_of(state.description['CreationTime'])} ago"),
        ("seconds", None if state.billable_s is None else f"{state.billable_s:,} paid for"),
        ("cost", None if bound is None or most is None else f"at most {bound:.2f} USD so far, {most:.2f} USD in all"),
        ("objective", None if value is None else f"{name} {value:.4g}"),
        ("output", output_of(state.description)),
        ("run folder", job.run_dir),
        ("fetched", job.record.fetched),
        ("console", None if job.aws.endpoint_url else _console(job)),
    ]
    width = max(len(label) for label, _ in pairs)
    text = "\n".join(f"{label:<{width}}  {value}" for label, value in pairs if value is not None)
    phases = [
        [f"{entry['StartTime']:%Y-%m-%d %H:%M:%S}", entry["Status"], entry.get("StatusMessage", "")]
        for entry in state.description.get("SecondaryStatusTransitions") or ()
    ]
    if phases:
        text += f"\n\n{format_table(['since', 'phase', 'what SageMaker says'], phases)}"
    if job.record.is_tuning:
        from launch.tuning.tables import ranking

        return f"{text}\n\n{ranking(state, job.record)}"
    if state.metrics:
        text += f"\n\n{format_table(['metric', 'last value'], [list(item) for item in sorted(state.metrics.items())])}"
    return text


def cost_bound(state: JobState, record: LaunchRecord | None) -> float | None:
    """Return the most that a job can have cost so far, in US dollars; None where no price is known.

    Args:
        state: Of the job.
        record: Of its run folder, which keeps the most that all of it may cost.
    """
    return cost_of(state, record, state.billable_s)


def cost_of(state: JobState, record: LaunchRecord | None, seconds: int | None) -> float | None:
    """Return the most that some seconds of a job, or of a tuning job's jobs, can have cost, in US dollars.

    Args:
        state: Of the job.
        record: Of its run folder.
        seconds: Paid for; None if that is unknown.
    """
    definition = state.description.get("TrainingJobDefinition") or state.description
    limit_s = (definition.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds")
    if record is None or record.most_usd is None or seconds is None or not limit_s:
        return None
    limits = (state.description.get("HyperParameterTuningJobConfig") or {}).get("ResourceLimits") or {}
    return float(record.most_usd * min(1.0, seconds / (limit_s * limits.get("MaxNumberOfTrainingJobs", 1))))


def age_of(moment: datetime) -> str:
    """Say how long ago something was, in one unit.

    Example:
        >>> from datetime import timedelta
        >>> age_of(datetime.now(UTC) - timedelta(minutes=90))
        '1 h'
    """
    seconds = max(0, int((datetime.now(UTC) - moment.astimezone(UTC)).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _search(state: JobState) -> str | None:
    """Say in a line how a tuning job searches."""
    config = state.description.get("HyperParameterTuningJobConfig")
    if config is None:
        return None
    most, at_a_time = (config["ResourceLimits"].get(f"Max{kind}TrainingJobs") for kind in ("NumberOf", "Parallel"))
    early = ", stopping early" if config.get("TrainingJobEarlyStoppingType") == "Auto" else ""
    return f"{config['Strategy']}, {most} jobs, {at_a_time} at a time{early}"


def _objective(state: JobState) -> tuple[str, float | None]:
    """Return the metric that a job was to improve, and its last value; a tuning job's best."""
    config = state.description.get("HyperParameterTuningJobConfig")
    if config is not None:
        metric = str(config["HyperParameterTuningJobObjective"]["MetricName"])
        return metric, state.metrics.get(metric)
    text = str((state.description.get("HyperParameters") or {}).get("objective", ""))
    name: Any = DEFAULT_OBJECTIVE
    if text:
        try:
            name = json.loads(text)
        except ValueError:
            name = text
    if isinstance(name, str) and name.startswith("["):  # a list of Hydra's, whose first drives
        name = name.strip("[] ").partition(",")[0].strip("'\" ")
    return str(name), state.metrics.get(str(name))


def _console(job: Job) -> str:
    host = "console.amazonaws.cn" if job.aws.region.startswith("cn-") else "console.aws.amazon.com"
    place = f"{job.aws.region}.{host}/sagemaker/home?region={job.aws.region}"
    page = "hyper-tuning-jobs" if job.record.is_tuning else "transform-jobs" if job.record.is_transform else "jobs"
    return f"https://{place}#/{page}/{job.record.job_name}"
