"""The actions of hosting, on moto's backend: its own are done at once, take names twice, and nothing answers.

Refusals are in SageMaker's words, as far as they are known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ResourceInUseException, ResourceNotFound, ValidationError
from moto.sagemaker.responses import SageMakerResponse

from launch.standin.hosting import IN_PROGRESS, Endpoint, Kept, TransformJob
from launch.standin.pages import page

if TYPE_CHECKING:
    from launch.standin.hosting_worker import HostingWorker


class HostingActions(SageMakerResponse):
    """What SageMaker answers about models, configurations, endpoints and transform jobs."""

    hosting: Callable[[], HostingWorker]

    @property
    def _model_store(self) -> dict[str, Kept]:
        return self.sagemaker_backend._models  # type: ignore[return-value]  # noqa: SLF001 -- by which moto tags them

    @property
    def _configs(self) -> dict[str, Kept]:
        return self.sagemaker_backend.endpoint_configs  # type: ignore[return-value]

    @property
    def _endpoints(self) -> dict[str, Endpoint]:
        return self.sagemaker_backend.endpoints  # type: ignore[return-value]

    @property
    def _transforms(self) -> dict[str, TransformJob]:
        return self.sagemaker_backend.transform_jobs  # type: ignore[return-value]

    def create_model(self) -> ActionResult:
        """Keep a model, whose archive must be there."""
        model = self._keep("model", "Model", self._model_store, "model")
        address = (model.request.get("PrimaryContainer") or {}).get("ModelDataUrl")
        if address and not self.hosting().exists(address):
            del self._model_store[model.name]
            msg = (
                f"Could not find model data at {address}. Please ensure that the role has access permissions on the "
                "S3 object"
            )
            raise ValidationError(msg)
        return ActionResult({"ModelArn": model.arn})

    def describe_model(self) -> ActionResult:
        """Tell of a model."""
        return ActionResult(self._get(self._model_store, "ModelName", "model").response_object)

    def list_models(self) -> ActionResult:
        """List models: filtered, then sorted, then a page of them."""
        return self._list("Models", self._model_store)

    def delete_model(self) -> ActionResult:
        """Forget a model."""
        del self._model_store[self._get(self._model_store, "ModelName", "model").name]
        return EmptyResult()

    def create_endpoint_config(self) -> ActionResult:
        """Keep a configuration, whose models must be there."""
        for variant in self._get_params()["ProductionVariants"]:
            if variant["ModelName"] not in self._model_store:
                raise ValidationError(self._missing("model", variant["ModelName"]))
        config = self._keep("endpoint-config", "EndpointConfig", self._configs, "endpoint configuration")
        return ActionResult({"EndpointConfigArn": config.arn})

    def describe_endpoint_config(self) -> ActionResult:
        """Tell of a configuration."""
        return ActionResult(self._get_config().response_object)

    def list_endpoint_configs(self) -> ActionResult:
        """List configurations: filtered, then sorted, then a page of them."""
        return self._list("EndpointConfigs", self._configs)

    def delete_endpoint_config(self) -> ActionResult:
        """Forget a configuration."""
        del self._configs[self._get_config().name]
        return EmptyResult()

    def create_endpoint(self) -> ActionResult:
        """Keep an endpoint and have its container started."""
        config, name = self._get_config(), self._get_param("EndpointName")
        if name in self._endpoints:
            msg = f'Cannot create already existing endpoint "{self._endpoints[name].arn}".'
            raise ValidationError(msg)
        endpoint = Endpoint(self._get_params(), self.current_account, self.region)
        self._endpoints[name] = endpoint
        endpoint.begin("Creating", config)
        self.hosting().bring_up(endpoint, config, self._models_of(config))
        return ActionResult({"EndpointArn": endpoint.arn})

    def describe_endpoint(self) -> ActionResult:
        """Tell of an endpoint."""
        return ActionResult(self._get_endpoint().response_object)

    def list_endpoints(self) -> ActionResult:
        """List endpoints: filtered, then sorted, then a page of them."""
        return self._list("Endpoints", self._endpoints)

    def update_endpoint(self) -> ActionResult:
        """Start a container of another configuration; the old one answers until the new one is healthy."""
        endpoint, config = self._get_endpoint(), self._get_config()
        self._refuse_busy(endpoint)
        if endpoint.status != "InService":
            msg = f'Cannot update endpoint "{endpoint.arn}" in status {endpoint.status}.'
            raise ValidationError(msg)
        endpoint.begin("Updating", config)
        self.hosting().bring_up(endpoint, config, self._models_of(config))
        return ActionResult({"EndpointArn": endpoint.arn})

    def delete_endpoint(self) -> ActionResult:
        """End an endpoint's container, then forget the endpoint."""
        endpoint = self._get_endpoint()
        self._refuse_busy(endpoint)
        endpoint.begin("Deleting")
        self.hosting().take_down(endpoint, lambda: self._endpoints.pop(endpoint.name, None))
        return EmptyResult()

    def create_transform_job(self) -> ActionResult:
        """Keep a transform job and have it run."""
        name, model_name = self._get_param("TransformJobName"), self._get_param("ModelName")
        if name in self._transforms:
            msg = (
                f"Job name must be unique within an AWS account and region, and there is a job with this name ({name})"
            )
            raise ResourceInUseException(msg)
        if model_name not in self._model_store:
            raise ValidationError(self._missing("model", model_name))
        job = TransformJob(self._get_params(), self.current_account, self.region)
        self._transforms[name] = job
        self.hosting().transform(job, self._model_store[model_name])
        return ActionResult({"TransformJobArn": job.arn})

    def describe_transform_job(self) -> ActionResult:
        """Tell of a transform job."""
        return ActionResult(self._get_transform().response_object)

    def list_transform_jobs(self) -> ActionResult:
        """List transform jobs: filtered, then sorted, then a page of them."""
        return self._list("TransformJobSummaries", self._transforms)

    def stop_transform_job(self) -> ActionResult:
        """Ask for a transform job's end."""
        job = self._get_transform()
        if job.is_over:
            msg = f"The request was rejected because the transform job is in status {job.status}."
            raise ValidationError(msg)
        job.status = "Stopping"
        job.stop_asked.set()
        return EmptyResult()

    def _keep(self, kind: str, api: str, store: dict[str, Kept], words: str) -> Kept:
        kept = Kept(kind, api, self._get_params(), self.current_account, self.region)
        if kept.name in store:
            msg = f'Cannot create already existing {words} "{store[kept.name].arn}".'
            raise ValidationError(msg)
        store[kept.name] = kept
        return kept

    def _get(self, store: dict[str, Any], key: str, words: str) -> Any:
        name = self._get_param(key)
        if name not in store:
            raise ValidationError(self._missing(words, name))
        return store[name]

    def _get_config(self) -> Kept:
        return self._get(self._configs, "EndpointConfigName", "endpoint configuration")  # type: ignore[no-any-return]

    def _get_endpoint(self) -> Endpoint:
        return self._get(self._endpoints, "EndpointName", "endpoint")  # type: ignore[no-any-return]

    def _get_transform(self) -> TransformJob:
        name = self._get_param("TransformJobName")
        if name not in self._transforms:
            msg = f"Could not find requested job with name: {name}"
            raise ResourceNotFound(msg)
        return self._transforms[name]

    def _missing(self, words: str, name: str) -> str:
        kind = words.replace("uration", "").replace(" ", "-")
        return f'Could not find {words} "arn:aws:sagemaker:{self.region}:{self.current_account}:{kind}/{name}".'

    @staticmethod
    def _refuse_busy(endpoint: Endpoint) -> None:
        if endpoint.status in IN_PROGRESS:
            msg = f'Cannot update in-progress endpoint "{endpoint.arn}".'
            raise ValidationError(msg)

    def _models_of(self, config: Kept) -> list[Kept]:
        return [self._model_store[variant["ModelName"]] for variant in config.request["ProductionVariants"]]

    def _list(self, key: str, store: dict[str, Any]) -> ActionResult:
        params = self._get_params()
        wanted = str(params.get("NameContains") or "").lower()
        kept = [item for item in list(store.values()) if wanted in item.name.lower()]
        if params.get("StatusEquals"):
            kept = [item for item in kept if item.status == params["StatusEquals"]]
        by_name = params.get("SortBy") == "Name"
        kept.sort(
            key=lambda item: item.name if by_name else item.created, reverse=params.get("SortOrder") != "Ascending"
        )
        return ActionResult(page(key, [item.summary for item in kept], params, 10))
