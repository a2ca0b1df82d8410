"""The order in which an endpoint comes to be or to another model; and back, where that fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError
from launch.hosting.plan import DeployPlan
from launch.hosting.protocols import EndpointState
from launch.hosting.removal import models_of, remove_belongings, remove_endpoint
from launch.hosting.request import update_request
from launch.hosting.smoke import SmokeTest, can_test, smoke_test
from launch.hosting.taken import check_kind, check_ours
from launch.hosting.waiting import wait_while

if TYPE_CHECKING:
    from launch.aws.endpoints import Endpoints
    from launch.aws.runtime import Reply

Say = Callable[[str], None]
LOG_LINES = 30


@dataclass(frozen=True)
class Outcome:
    """What has come of it.

    Args:
        status: Of the endpoint.
        test: Its answer about the example; None if it was not asked.
    """

    status: str
    test: SmokeTest | None = None


class Deployment:
    """Brings one endpoint to what a plan says.

    Args:
        service: Where endpoints are.
        plan: What is to be.
        model_folder: With the example.
        say: Told what is being done.
    """

    def __init__(self, service: Endpoints, plan: DeployPlan, model_folder: Path, say: Say) -> None:
        self._service = service
        self._plan = plan
        self._folder = model_folder
        self._say = say
        self.name = plan.settings.name
        self._poll_s = plan.settings.launch.poll_s

    def look(self) -> EndpointState | None:
        """Look at what bears the name already, and wait for what is being done with it.

        Returns:
            An endpoint of ours that answers; None where there is none (any more).

        Raises:
            UserError: it is not ours, or of a kind that cannot become the one asked for.
        """
        state = self._service.find(self.name)
        if state is None:
            return None
        check_ours(state, self._service.region)
        if state.is_in_progress:
            was_made = state.status == "Creating" and state.config_name == self._plan.config_name
            self._say(f"{self.name} is there already ({state.status}); waiting …")
            with self._explaining_interruption():
                state = wait_while(self._service, self.name, self._poll_s)
            if state is not None and state.status == "Failed" and was_made:
                self._undo(self._failure(state, "could not be made"))
        if state is not None and state.status == "Failed":
            self._say(f"{self.name} has failed before ({state.failure}); removing it …")
            remove_endpoint(self._service, self.name, self._poll_s)
            return None
        if state is not None:
            check_kind(state, self._service.describe("configuration", state.config_name), self._plan.settings.kind)
        return state

    def run(self, existing: EndpointState | None) -> Outcome:
        """Make, update, or leave the endpoint as it is.

        Args:
            existing: As `look` has found it.

        Raises:
            UserError: it could not be brought to it; then nothing new is left, and what answered before still does.
            KeyboardInterrupt: Ctrl-C; its text says what there is.
        """
        with self._explaining_interruption():
            if existing is None:
                return self._make()
            if existing.config_name == self._plan.config_name:
                self._say(f"{self.name} serves this model already.")
                self._scale(had_before=self._scaling_now() is not None)
                return Outcome(existing.status, self._test())
            return self._update(existing)

    def _make(self) -> Outcome:
        plan, service = self._plan, self._service
        try:
            service.create("model", plan.model)
            service.create("configuration", plan.config)
            service.create_endpoint(plan.endpoint)
            if not plan.settings.launch.wait:
                return Outcome("Creating")
            self._expect_in_service(wait_while(service, self.name, self._poll_s), "could not be made")
            test = self._test()
            self._scale()
        except Exception as error:  # noqa: BLE001 -- whatever it is, nothing that is paid for may stay
            self._undo(error)
        return Outcome("InService", test)

    def _undo(self, error: Exception) -> None:
        """Remove what was made, and raise the error with a word about that."""
        self._say("That failed; removing what was made …")
        try:
            remove_endpoint(self._service, self.name, self._poll_s)
        except UserError as other:
            msg = (
                f"{error} What was made of it could not be removed ({other}): python -m launch.endpoints delete "
                f"{self.name} does so when AWS answers again."
            )
            raise UserError(msg) from error
        if not isinstance(error, UserError):
            raise error
        msg = f"{error} All that was made for it is removed again, so that nothing is paid for."
        raise UserError(msg) from error

    def _update(self, existing: EndpointState) -> Outcome:
        from launch.aws.scaling import find_policies, remove_scaling

        plan, service, aws = self._plan, self._service, self._service.aws
        target = self._scaling_now()
        policies = find_policies(aws, self.name) if target else []
        old_config, old_models = existing.config_name, models_of(service, existing.config_name)
        keeps_count = bool(target and plan.scaling and self._has_same_machine(old_config))
        try:
            service.create("model", plan.model)
            service.create("configuration", plan.config)
            if target:  # which would not let the machines be replaced
                remove_scaling(aws, self.name)
            service.update_endpoint(update_request(plan.settings, plan.config_name, keeps_count=keeps_count))
            if not plan.settings.launch.wait:
                return Outcome("Updating")
            self._expect_in_service(wait_while(service, self.name, self._poll_s), "could not be updated")
            test = self._test()
            self._scale()
        except Exception as error:  # noqa: BLE001 -- whatever it is, what answered before must go on
            self._go_back(error, old_config, old_models, target, policies)
        for words in remove_belongings(service, self.name, (plan.config_name, plan.model_name)):
            self._say(f"removed {words}")
        return Outcome("InService", test)

    def _go_back(
        self,
        error: Exception,
        old_config: str,
        old_models: list[str],
        target: dict[str, Any] | None,
        policies: list[Any],
    ) -> None:
        """Let the endpoint answer as before, remove what is new, and raise the error with a word about that."""
        from launch.aws.scaling import restore_scaling

        service = self._service
        self._say("That failed; going back to what was before …")
        try:
            state = wait_while(service, self.name, self._poll_s)
            if state is not None and state.config_name != old_config:
                request = {"EndpointName": self.name, "EndpointConfigName": old_config}
                service.update_endpoint(request)
                wait_while(service, self.name, self._poll_s)
            if target:
                restore_scaling(service.aws, self.name, target, policies)
            remove_belongings(service, self.name, (old_config, *old_models))
        except UserError as other:
            msg = f"{error} Going back failed, too ({other}): python -m launch.endpoints list tells how it stands."
            raise UserError(msg) from error
        if not isinstance(error, UserError):
            raise error
        msg = f"{error} {self.name} answers as before, and what was made is removed."
        raise UserError(msg) from error

    def _expect_in_service(self, state: EndpointState | None, what: str) -> None:
        if state is None:
            msg = f"The endpoint {self.name} was deleted by somebody else meanwhile."
            raise UserError(msg)
        if state.status != "InService" or state.config_name != self._plan.config_name:
            raise self._failure(state, what)

    def _failure(self, state: EndpointState, what: str) -> UserError:
        """Say why, and show what the container has printed."""
        lines = self._service.log_tail(self.name, LOG_LINES)
        for line in lines:
            sys.stderr.write(f"container  {line}\n")
        reason = " ".join(state.failure.split()).rstrip(".") or f"its status is {state.status}, without a reason"
        remedy = ""
        if "capacity" in reason.lower():
            remedy = " Choose another instance_type=TYPE or launch.region=REGION, or call again later."
        elif lines:
            remedy = " The end of the container's log is above."
        return UserError(f"The endpoint {self.name} {what}: {reason}.{remedy}")

    def _test(self) -> SmokeTest | None:
        settings = self._plan.settings
        if not settings.smoke_test:
            return None
        if not can_test(self._folder):
            self._say(f"{self._folder} has no example.jpg: the endpoint is not tested.")
            return None
        return smoke_test(self._ask, self._folder, 0 if settings.kind == "async" else 3)

    def _ask(self, picture: bytes) -> Reply:
        from launch.aws.runtime import invoke, invoke_async

        aws, settings = self._service.aws, self._plan.settings
        if settings.kind != "async":
            return invoke(aws, self.name, picture, content_type="image/jpeg")
        place = self._plan.places.input
        poll_s = min(1.0, self._poll_s)
        return invoke_async(aws, self.name, picture, place=place, content_type="image/jpeg", poll_s=poll_s)

    def _scaling_now(self) -> dict[str, Any] | None:
        """Return how the endpoint scales; None where it does not, or AWS does not tell and nobody has asked for it."""
        from launch.aws.scaling import find_scaling

        try:
            return find_scaling(self._service.aws, self.name)
        except UserError as error:
            if self._plan.scaling:
                raise
            self._say(f"Autoscaling is not looked at: {error}")
            return None

    def _scale(self, *, had_before: bool = False) -> None:
        from launch.aws.scaling import apply_scaling, remove_scaling

        scaling = self._plan.scaling
        if scaling:
            apply_scaling(self._service.aws, scaling)
            scale = self._plan.settings.autoscale
            self._say(f"autoscaling between {scale.min} and {scale.max} machines")
        elif had_before and remove_scaling(self._service.aws, self.name):
            self._say("autoscaling removed, since none was asked for")

    def _has_same_machine(self, config_name: str) -> bool:
        config = self._service.describe("configuration", config_name)
        kinds = {variant.get("InstanceType") for variant in config["ProductionVariants"]} if config else set()
        return kinds == {self._plan.settings.instance_type}

    @contextmanager
    def _explaining_interruption(self) -> Iterator[None]:
        """Say at Ctrl-C what there is and how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            name = self.name
            text = (
                f"The endpoint {name} may be there and cost money: the same command goes on with it, python -m "
                f"launch.endpoints list shows it, python -m launch.endpoints delete {name} removes it and all that "
                "belongs to it."
            )
            raise KeyboardInterrupt(text) from None
