"""The actions that moto 5.2 lacks or answers too simply, on its own backends.

Lacking: StopTrainingJob, UpdateTrainingJob (SageMaker) and SimulatePrincipalPolicy (IAM). Replaced: CreateTrainingJob,
whose job is over at once and which takes a name twice; ListTrainingJobs, which neither sorts nor counts pages after
filtering. Tuning jobs are in `launch.standin.tuning_actions`, hosting is in `launch.standin.hosting_actions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import convert_to_flask_response
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.iam.responses import IamResponse
from moto.moto_server.werkzeug_app import create_backend_app
from moto.sagemaker.exceptions import ResourceInUseException, ValidationError
from moto.sagemaker.responses import SageMakerResponse

from launch.standin.hosting_actions import HostingActions
from launch.standin.hosting_worker import HostingWorker
from launch.standin.job import TrainingJob
from launch.standin.pages import page
from launch.standin.tuning_actions import TuningActions

OnCreate = Callable[[TrainingJob], None]


class SageMaker(TuningActions, HostingActions):
    """moto's SageMaker with jobs that live; `with_worker` binds it to who takes them."""

    @classmethod
    def with_worker(
        cls, on_create: OnCreate, is_closing: Callable[[], bool], hosting: Callable[[], HostingWorker]
    ) -> type[SageMaker]:
        """Return the class that hands each new job on.

        Args:
            on_create: Takes a job.
            is_closing: Says whether the stand-in ends.
            hosting: Returns who runs containers.
        """
        bound = {
            "on_create": staticmethod(on_create),
            "is_closing": staticmethod(is_closing),
            "hosting": staticmethod(hosting),
        }
        return type("SageMaker", (cls,), bound)

    @property
    def _jobs(self) -> dict[str, TrainingJob]:
        return self.sagemaker_backend.training_jobs  # type: ignore[return-value]  # all are made below

    def _job(self) -> TrainingJob:
        name = self._get_param("TrainingJobName")
        if name not in self._jobs:
            msg = "Requested resource not found."
            raise ValidationError(msg)
        return self._jobs[name]

    def create_training_job(self) -> ActionResult:
        """Keep the whole request and hand the job on."""
        request = self._get_params()
        name = request["TrainingJobName"]
        if name in self._jobs:
            msg = (
                "Training job names must be unique within an AWS account and region, and a training job with this name "
                f"already exists ({self._jobs[name].arn})"
            )
            raise ResourceInUseException(msg)
        job = TrainingJob(request, self.current_account, self.region)
        self._jobs[name] = job
        self.on_create(job)
        return ActionResult({"TrainingJobArn": job.arn})

    def describe_training_job(self) -> ActionResult:
        """Tell what has become of a job."""
        return ActionResult(self._job().response_object)

    def stop_training_job(self) -> ActionResult:
        """Ask for a job's end; one that is over is refused."""
        job = self._job()
        if job.is_over:
            msg = f"The request was rejected because the training job is in status {job.training_job_status}."
            raise ValidationError(msg)
        job.stop()
        return EmptyResult()

    def update_training_job(self) -> ActionResult:
        """Change what can be changed of a job: profiling, and how long its machine is kept warm."""
        job = self._job()
        for key, value in self._get_params().items():
            if key == "TrainingJobName":
                continue
            known = job.request.get(key)
            job.request[key] = known | value if isinstance(known, dict) and isinstance(value, dict) else value
        return ActionResult({"TrainingJobArn": job.arn})

    def list_training_jobs(self) -> ActionResult:
        """List jobs: filtered, then sorted, then a page of them."""
        params = self._get_params()
        return ActionResult(page("TrainingJobSummaries", _matching(self._jobs.values(), params), params, 10))


class Iam(IamResponse):
    """moto's IAM with the question whether a role may do something."""

    def simulate_principal_policy(self) -> ActionResult:
        """Judge actions by a role's own and attached policies; a deny beats an allow."""
        role = self.backend.get_role_by_arn(self._get_param("PolicySourceArn"))
        policies = [IAMPolicy(policy) for policy in (*role.policies.values(), *role.managed_policies.values())]
        results = []
        for action in self._get_param("ActionNames"):
            for resource in self._get_param("ResourceArns") or ["*"]:
                verdicts = {policy.is_action_permitted(action, resource) for policy in policies}
                results.append(
                    {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": _decision(verdicts)}
                )
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def create_app(service: Any, responses: Mapping[str, type[SageMakerResponse | IamResponse]]) -> Flask:
    """Make moto's application for a service; ours answer where there are any."""
    app = create_backend_app(service)
    if service in responses:
        for name in app.view_functions:
            app.view_functions[name] = convert_to_flask_response(responses[service].dispatch)
    return app


def _decision(verdicts: set[PermissionResult]) -> str:
    if PermissionResult.DENIED in verdicts:
        return "explicitDeny"
    return "allowed" if PermissionResult.PERMITTED in verdicts else "implicitDeny"


def _matching(jobs: Any, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    def fits(job: TrainingJob) -> bool:
        return (
            (params.get("NameContains") or "") in job.training_job_name
            and params.get("StatusEquals") in (None, job.training_job_status)
            and not ("CreationTimeAfter" in params and job.creation_time <= _plain(params["CreationTimeAfter"]))
            and not ("CreationTimeBefore" in params and job.creation_time >= _plain(params["CreationTimeBefore"]))
        )

    keys = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}
    key = keys[params.get("SortBy") or "CreationTime"]
    rows = [job.summary for job in list(jobs) if fits(job)]
    return sorted(rows, key=lambda row: row[key], reverse=params.get("SortOrder") == "Descending")


def _plain(time: Any) -> Any:
    return time.replace(tzinfo=None) if time.tzinfo else time
