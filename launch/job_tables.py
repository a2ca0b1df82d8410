"""What `launch.jobs` prints of jobs: one line each, or all about one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dogbreed.tables import format_table
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
    aws, service = lookup.connect(*_newest_place(lookup))
    states = service.list_ours(prefix, limit)
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
    resources = state.description.get("ResourceConfig") or {}
    spot = ", spot" if state.description.get("EnableManagedSpotTraining") else ""
    name, value = _objective(state)
    bound, most = cost_bound(state, job.record), job.record.most_usd
    pairs = [
        ("job", state.name),
        ("status", f"{state.status} ({state.phase})" if state.phase != state.status else state.status),
        ("failure", failure_of(state) if state.status == "Failed" else None),
        ("machine", f"{num_machines(state.description)} × {resources.get('InstanceType', '?')}{spot}"),
        ("asked for", f"{age_of(state.description['CreationTime'])} ago"),
        ("seconds", None if state.billable_s is None else f"{state.billable_s:,} paid for"),
        ("cost", None if bound is None or most is None else f"at most {bound:.2f} USD so far, {most:.2f} USD in all"),
        ("objective", None if value is None else f"{name} {value:.4g}"),
        ("output", state.description["OutputDataConfig"]["S3OutputPath"]),
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
    if state.metrics:
        text += f"\n\n{format_table(['metric', 'last value'], [list(item) for item in sorted(state.metrics.items())])}"
    return text


def cost_bound(state: JobState, record: LaunchRecord | None) -> float | None:
    """Return the most that a job can have cost so far, in US dollars; None where no price is known.

    Args:
        state: Of the job.
        record: Of its run folder, which keeps the most that all of it may cost.
    """
    limit_s = (state.description.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds")
    if record is None or record.most_usd is None or state.billable_s is None or not limit_s:
        return None
    return float(record.most_usd * min(1.0, state.billable_s / limit_s))


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


def _objective(state: JobState) -> tuple[str, float | None]:
    """Return the metric that a job was to improve, and its last value."""
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
    return f"https://{place}#/jobs/{job.record.job_name}"
