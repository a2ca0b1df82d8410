"""The actions that moto 5.2 lacks or answers too simply, on its own backends.

Lacking: StopTrainingJob, UpdateTrainingJob, StopHyperParameterTuningJob, ListTrainingJobsForHyperParameterTuningJob,
UpdateEndpoint (SageMaker) and SimulatePrincipalPolicy (IAM). Replaced: CreateTrainingJob, whose job is over at once and
which takes a name twice; ListTrainingJobs, which neither sorts nor counts pages after filtering.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Flask
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import convert_to_flask_response
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.iam.responses import IamResponse
from moto.moto_server.werkzeug_app import create_backend_app
from moto.sagemaker.exceptions import ResourceInUseException, ResourceNotFound, ValidationError
from moto.sagemaker.responses import SageMakerResponse

from launch.standin.job import TrainingJob

OnCreate = Callable[[TrainingJob], None]


class SageMaker(SageMakerResponse):
    """moto's SageMaker with jobs that live; `with_worker` binds it to who takes them."""

    on_create: OnCreate

    @classmethod
    def with_worker(cls, on_create: OnCreate) -> type[SageMaker]:
        """Return the class that hands each new job on."""
        return type("SageMaker", (cls,), {"on_create": staticmethod(on_create)})

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
        return ActionResult(_page("TrainingJobSummaries", _matching(self._jobs.values(), params), params, 10))

    def stop_hyper_parameter_tuning_job(self) -> ActionResult:
        """Stop a tuning job and its children."""
        tuning = self._tuning()
        for job in self._children(tuning.hyper_parameter_tuning_job_name):
            job.stop()
        if tuning.hyper_parameter_tuning_job_status == "InProgress":
            tuning.hyper_parameter_tuning_job_status = "Stopped"
        return EmptyResult()

    def list_training_jobs_for_hyper_parameter_tuning_job(self) -> ActionResult:
        """List a tuning job's children with what they came to."""
        tuning, params = self._tuning(), self._get_params()
        config = tuning.hyper_parameter_tuning_job_config.get("HyperParameterTuningJobObjective") or {}
        rows = [_child(job, config) for job in self._children(tuning.hyper_parameter_tuning_job_name)]
        if params.get("StatusEquals"):
            rows = [row for row in rows if row["TrainingJobStatus"] == params["StatusEquals"]]
        key = params.get("SortBy", "Name")
        rows.sort(key=_CHILD_KEYS[key], reverse=params.get("SortOrder") == "Descending")
        return ActionResult(_page("TrainingJobSummaries", rows, params, 10))

    def update_endpoint(self) -> ActionResult:
        """Put an endpoint onto another configuration."""
        name, config_name = self._get_param("EndpointName"), self._get_param("EndpointConfigName")
        backend = self.sagemaker_backend
        endpoint = backend.endpoints.get(name)
        if endpoint is None:
            msg = f'Could not find endpoint "{name}".'
            raise ValidationError(msg)
        config = backend.describe_endpoint_config(config_name)
        endpoint.endpoint_config_name = config_name
        # moto counts a configuration's variants into an endpoint's in the constructor alone.
        endpoint.production_variants = endpoint._process_production_variants(config["ProductionVariants"])  # noqa: SLF001
        return ActionResult({"EndpointArn": endpoint.arn})

    def _tuning(self) -> Any:
        name = self._get_param("HyperParameterTuningJobName")
        tuning = self.sagemaker_backend.hyper_parameter_tuning_jobs.get(name)
        if tuning is None:
            msg = f"Could not find hyper parameter tuning job '{name}'."
            raise ResourceNotFound(msg)
        return tuning

    def _children(self, tuning_job: str) -> list[TrainingJob]:
        return [job for job in self._jobs.values() if job.tuning_job == tuning_job]


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


def _page(key: str, rows: Sequence[Any], params: Mapping[str, Any], default: int) -> dict[str, Any]:
    first = int(params.get("NextToken") or 0)
    last = first + int(params.get("MaxResults") or default)
    return {key: rows[first:last], "NextToken": str(last) if last < len(rows) else None}


def _child(job: TrainingJob, objective: Mapping[str, Any]) -> dict[str, Any]:
    row = job.summary | {
        "TuningJobName": job.tuning_job,
        "TrainingStartTime": job.training_start_time,
        "TunedHyperParameters": job.request.get("HyperParameters", {}),
        "FailureReason": job.failure_reason or None,
        "ObjectiveStatus": "Pending",
    }
    metric = job.metrics.get(objective.get("MetricName", ""))
    if metric:
        named = {"MetricName": metric["MetricName"], "Value": metric["Value"], "Type": objective.get("Type")}
        row |= {"FinalHyperParameterTuningJobObjectiveMetric": named, "ObjectiveStatus": "Succeeded"}
    elif job.is_over:
        row["ObjectiveStatus"] = "Failed"
    return row


_CHILD_KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Name": lambda row: row["TrainingJobName"],
    "CreationTime": lambda row: row["CreationTime"],
    "Status": lambda row: row["TrainingJobStatus"],
    "FinalObjectiveMetricValue": lambda row: row.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get(
        "Value", float("-inf")
    ),
}
