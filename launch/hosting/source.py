"""Find the model that is meant: a run folder, a model folder, or a training job whose model lies in S3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dogbreed.errors import UserError
from dogbreed.files import user_cache_dir
from dogbreed.model_description import find_model_folder
from dogbreed.run_files import MODEL
from launch.names import MAX_JOB_NAME


def find_model(given: str, region: str | None, say: Callable[[str], None] = lambda _: None) -> Path:
    """Return the model folder that is meant.

    Args:
        given: A folder, or the name of a training job; a folder comes first.
        region: Where the job ran; None for the AWS configuration's.
        say: Told what is fetched.

    Raises:
        UserError: there is neither; the job has left no model, or is a tuning job.
    """
    folder = Path(given).expanduser()
    if folder.exists():
        return find_model_folder(folder)
    if "/" in given or len(given) > MAX_JOB_NAME:
        return find_model_folder(folder)  # which says that it does not exist
    return _of_job(given, region, say)


def _of_job(name: str, region: str | None, say: Callable[[str], None]) -> Path:
    from launch.aws.storage import S3Store
    from launch.fetch import bucket_of, fetch
    from launch.job_lookup import Lookup

    lookup = Lookup(region, Path("runs"))
    for run_dir, record in lookup.records:
        if name == record.job_name and (run_dir / MODEL).is_dir():
            return find_model_folder(run_dir)
    try:
        job = lookup.find(name)
    except UserError as error:
        msg = f"model={name} is neither a folder nor a training job: {error}"
        raise UserError(msg) from error
    if job.record.is_tuning:
        msg = (
            f"model={name} is a tuning job: name the training job of its best trial, which python -m launch.jobs show "
            f"{name} tells."
        )
        raise UserError(msg)
    state = job.service.describe(name)
    # By its account's and region's place: another stand-in has jobs of the same names.
    home = user_cache_dir() / "launch" / "job-models" / job.aws.account / job.aws.region / name
    if state.is_over and (home / MODEL).is_dir():
        return find_model_folder(home)
    fetched = fetch(S3Store(job.aws, bucket_of(state.description)), state.description, home, say, parts=(MODEL,))
    if not fetched.parts:
        msg = f"model={name}: the job has left no model so far ({state.status}): give one that is completed."
        raise UserError(msg)
    return find_model_folder(home)
