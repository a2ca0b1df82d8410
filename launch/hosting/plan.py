"""Everything of one endpoint or transform job, put together from settings and given facts, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from launch import limits
from launch.hosting.costs import HourlyCost, check_hourly_cap, endpoint_cost, transform_cost
from launch.hosting.limits import CONFIG_LIMITS, ENDPOINT_LIMITS, MODEL_LIMITS, TRANSFORM_LIMITS
from launch.hosting.names import EndpointPlaces, models_prefix
from launch.hosting.request import (
    config_request,
    endpoint_request,
    has_gpus,
    model_request,
    tags_of,
    transform_request,
)
from launch.hosting.scaling import Scaling, scaling_of
from launch.hosting.settings import DeploySettings, TransformSettings
from launch.machines import MACHINES
from launch.names import job_name
from launch.pricing import PriceTable


@dataclass(frozen=True)
class HostFacts:
    """What a plan needs besides the settings.

    Args:
        region: AWS region.
        bucket: Of S3.
        role_arn: What the container may do.
        image: Its address.
        archive_sha256: Of the model's archive.
        version: Of this package.
        prices: What is known of them.
        placeholders: What stands in for something, to where that would come from.
    """

    region: str
    bucket: str
    role_arn: str
    image: str
    archive_sha256: str
    version: str
    prices: PriceTable | None = None
    placeholders: Mapping[str, str] = field(default_factory=dict)

    def archive(self, prefix: str) -> str:
        """Return the address of the model's archive."""
        return f"s3://{self.bucket}/{models_prefix(prefix)}/{self.archive_sha256}/model.tar.gz"


@dataclass(frozen=True)
class DeployPlan:
    """One endpoint.

    Args:
        settings: All that is said of it.
        facts: What it was made from.
        places: Where its files go.
        model: CreateModel's request.
        config: CreateEndpointConfig's.
        endpoint: CreateEndpoint's.
        scaling: What makes it scale; None if nothing is to.
        cost: What it costs in an hour.
        notes: What the user should know, in sentences.
    """

    settings: DeploySettings
    facts: HostFacts
    places: EndpointPlaces
    model: Mapping[str, Any]
    config: Mapping[str, Any]
    endpoint: Mapping[str, Any]
    scaling: Scaling | None
    cost: HourlyCost
    notes: tuple[str, ...]

    @property
    def model_name(self) -> str:
        """Of its model."""
        return str(self.model["ModelName"])

    @property
    def config_name(self) -> str:
        """Of its configuration."""
        return str(self.config["EndpointConfigName"])

    @property
    def requests(self) -> dict[str, Mapping[str, Any]]:
        """Action to request, in the order in which they are sent to make it anew."""
        found = {"CreateModel": self.model, "CreateEndpointConfig": self.config, "CreateEndpoint": self.endpoint}
        if self.scaling:
            found |= {"RegisterScalableTarget": self.scaling.target, "PutScalingPolicy": self.scaling.policy}
        if self.scaling and self.scaling.from_zero and self.scaling.alarm:
            found |= {"PutScalingPolicy (from zero)": self.scaling.from_zero, "PutMetricAlarm": self.scaling.alarm}
        return found


@dataclass(frozen=True)
class TransformPlan:
    """One transform job.

    Args:
        settings: All that is said of it.
        facts: What it was made from.
        name: Of the job.
        model: CreateModel's request.
        job: CreateTransformJob's.
        cost: What it costs in an hour.
        notes: What the user should know, in sentences.
    """

    settings: TransformSettings
    facts: HostFacts
    name: str
    model: Mapping[str, Any]
    job: Mapping[str, Any]
    cost: HourlyCost
    notes: tuple[str, ...]

    @property
    def requests(self) -> dict[str, Mapping[str, Any]]:
        """Action to request, in the order in which they are sent."""
        return {"CreateModel": self.model, "CreateTransformJob": self.job}


def make_deploy_plan(settings: DeploySettings, facts: HostFacts) -> DeployPlan:
    """Put one endpoint together.

    Args:
        settings: All that is said of it.
        facts: What an account knows, and the archive.

    Raises:
        UserError: the API would refuse a request, or it could cost more than ``max_usd_per_hour``.
    """
    launch = settings.launch
    tags = tags_of(launch, settings.name, facts.version)
    places = EndpointPlaces.of(facts.bucket, launch.prefix, settings.name)
    model = model_request(
        launch,
        settings.name,
        image=facts.image,
        role_arn=facts.role_arn,
        archive=facts.archive(launch.prefix),
        tags=tags,
    )
    config = config_request(settings, model_name=model["ModelName"], places=places, tags=tags)
    endpoint = endpoint_request(settings, config["EndpointConfigName"], tags)
    limits.check(model, MODEL_LIMITS, "model")
    limits.check(config, CONFIG_LIMITS, "configuration")
    limits.check(endpoint, ENDPOINT_LIMITS, "endpoint")
    cost = endpoint_cost(settings, facts.region, facts.prices)
    check_hourly_cap(cost, settings.max_usd_per_hour)
    notes = tuple(_notes(settings.instance_type, settings.image))
    return DeployPlan(settings, facts, places, model, config, endpoint, scaling_of(settings), cost, notes)


def make_transform_plan(settings: TransformSettings, facts: HostFacts, now: datetime, token: str) -> TransformPlan:
    """Put one transform job together.

    Args:
        settings: All that is said of it.
        facts: What an account knows, and the archive.
        now: When it is started.
        token: Letters and digits that set the job's name apart.

    Raises:
        UserError: the API would refuse a request.
    """
    launch = settings.launch
    name = job_name(settings.name or "transform", now, token)
    # Its model belongs to this job alone: it goes when the job is over, whatever another one does.
    tags = tags_of(launch, name, facts.version)
    model = model_request(
        launch, name, image=facts.image, role_arn=facts.role_arn, archive=facts.archive(launch.prefix), tags=tags
    )
    job = transform_request(settings, name, model["ModelName"], tags)
    limits.check(model, MODEL_LIMITS, "model")
    limits.check(job, TRANSFORM_LIMITS)
    cost = transform_cost(settings, facts.region, facts.prices)
    return TransformPlan(settings, facts, name, model, job, cost, tuple(_notes(settings.instance_type, settings.image)))


def _notes(instance_type: str | None, image: str) -> list[str]:
    notes = []
    if instance_type is not None and instance_type not in MACHINES:
        notes.append(f"{instance_type} is not in our table: whether it has a GPU goes by its name.")
    if has_gpus(instance_type) and image != "auto":
        notes.append(f"{instance_type} has a GPU: {image} must bring what uses it.")
    return notes
