"""What bears our tag and serves nobody: found anywhere in the account's region, and removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from launch.hosting.names import models_prefix
from launch.hosting.protocols import Resource
from launch.hosting.removal import models_of, remove_endpoint
from launch.names import key_of

if TYPE_CHECKING:
    from launch.aws.endpoints import Endpoints
    from launch.aws.storage import S3Store


@dataclass(frozen=True)
class Leftover:
    """Something of ours that serves nobody.

    Args:
        kind: ``endpoint``, ``configuration``, ``model`` or ``archive``.
        name: Of it; an archive's address.
        why: Nobody is served by it, in words.
        created: When it was made; None where that is unknown.
        num_bytes: Of an archive.
    """

    kind: str
    name: str
    why: str
    created: datetime | None = None
    num_bytes: int | None = None

    def may_be_at_work(self, min_age: timedelta) -> bool:
        """Say whether it may be part of a deployment that is still going on, which has no endpoint yet.

        Args:
            min_age: What is at least as old is not. What has failed is over at any age.
        """
        if self.kind == "endpoint" or self.created is None:
            return False
        return datetime.now(UTC) - self.created.astimezone(UTC) < min_age


def find_leftovers(service: Endpoints, store: S3Store, prefix: str) -> list[Leftover]:
    """Find what is left of endpoints and transform jobs that are gone, of those that failed, and of uploads.

    A model that a running transform job works with is not left over.

    Args:
        service: Where endpoints are.
        store: The bucket of the archives.
        prefix: They lie below it: ``launch.prefix``.

    Raises:
        UserError: AWS cannot be asked.
    """
    from launch.hosting.taken import is_ours

    endpoints, configs, models = (service.list_all(kind) for kind in ("endpoint", "configuration", "model"))
    ours = [resource for resource in (*configs, *models) if is_ours(resource.tags)]
    failed = [found for found in endpoints if is_ours(found.tags) and found.status == "Failed"]
    found = [Leftover("endpoint", item.name, "has failed", item.created) for item in failed]
    used_configs, used_models = _in_use(service, endpoints, configs)
    busy = _in_transform(service)
    for item in ours:
        is_used = item.name in (used_configs if item.kind == "configuration" else used_models | busy)
        if not is_used:
            why = "no endpoint has it" if item.kind == "configuration" else "no configuration and no running job has it"
            found.append(Leftover(item.kind, item.name, why, item.created))
    return found + _archives(service, store, prefix, models, {item.name for item in found if item.kind == "model"})


def remove_leftovers(service: Endpoints, store: S3Store, found: Sequence[Leftover], poll_s: float) -> int:
    """Remove what `find_leftovers` has found; return how many that were.

    Raises:
        UserError: AWS refuses; calling again goes on.
    """
    num_removed = 0
    for item in found:
        if item.kind == "endpoint":
            num_removed += bool(remove_endpoint(service, item.name, poll_s))
        elif item.kind == "archive":
            store.delete(key_of(item.name)[1])
            num_removed += 1
        else:
            num_removed += service.delete(item.kind, item.name)
    return num_removed


def _in_use(
    service: Endpoints, endpoints: Sequence[Resource], configs: Sequence[Resource]
) -> tuple[set[str], set[str]]:
    """Return the names of configurations that endpoints have, and of models that those have; others' included."""
    used = set()
    for endpoint in endpoints:
        state = service.find(endpoint.name)
        if state is not None and state.status != "Failed":
            used |= {name for name in (state.config_name, state.pending_config) if name}
    from launch.hosting.taken import is_ours

    # A configuration of somebody else's may wait for its endpoint: what it names is in use.
    keeping = used | {config.name for config in configs if not is_ours(config.tags)}
    return used, {model for name in keeping for model in models_of(service, name)}


def _in_transform(service: Endpoints) -> set[str]:
    from launch.aws.transform_jobs import TransformJobs

    return TransformJobs(service.aws).models_in_use()


def _archives(
    service: Endpoints, store: S3Store, prefix: str, models: Sequence[Resource], leaving: set[str]
) -> list[Leftover]:
    """Find archives below our prefix that no model reads, those aside that are left over themselves."""
    read = set()
    for model in models:
        description = service.describe("model", model.name) if model.name not in leaving else None
        containers = (
            [description.get("PrimaryContainer"), *(description.get("Containers") or ())] if description else []
        )
        read |= {container.get("ModelDataUrl") for container in containers if container}
    return [
        Leftover("archive", store.address(item.key), "no model reads it", item.modified, item.num_bytes)
        for item in store.list(f"{models_prefix(prefix)}/")
        if store.address(item.key) not in read
    ]
