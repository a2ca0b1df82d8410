"""A batch transform job from its model to the answers in S3."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from dogbreed.errors import UserError
from launch.follow import check_outcome, follow
from launch.hosting.plan import TransformPlan
from launch.names import key_of
from launch.pricing import HOUR_S
from launch.protocols import JobState
from launch.record import LaunchRecord

if TYPE_CHECKING:
    from launch.aws.session import Aws
    from launch.aws.storage import S3Store

NUM_SHOWN = 5


class Transforming:
    """Runs one job.

    Args:
        aws: The account.
        plan: What is to be.
        say: Told what is being done.
    """

    def __init__(self, aws: Aws, plan: TransformPlan, say: Callable[[str], None]) -> None:
        from launch.aws.endpoints import Endpoints
        from launch.aws.transform_jobs import TransformJobs

        self._aws = aws
        self._plan = plan
        self._say = say
        self._jobs = TransformJobs(aws)
        self._service = Endpoints(aws)

    def count_pictures(self) -> int:
        """Count what lies below the input's address, before anything is paid for.

        Raises:
            UserError: there is nothing, or S3 refuses.
        """
        store, prefix = self._store(self._plan.settings.input)
        count = sum(1 for item in store.list(prefix) if not item.key.endswith("/"))
        if not count:
            msg = f"input={self._plan.settings.input} has nothing below it: give the address of pictures in S3."
            raise UserError(msg)
        return count

    def start(self) -> None:
        """Make the model and send the job; what was made goes again if that fails.

        Raises:
            UserError: AWS refuses.
        """
        try:
            self._service.create("model", self._plan.model)
            self._jobs.create(self._plan.job)
        except UserError as error:
            with suppress(UserError):
                self._service.delete("model", str(self._plan.model["ModelName"]))
            msg = f"{error} Nothing runs, and what was made for it is removed."
            raise UserError(msg) from error

    def finish(self) -> str:
        """Follow the job to its end, remove its model, and tell of the answers.

        Returns:
            Lines of text.

        Raises:
            UserError: the job has failed.
            KeyboardInterrupt: Ctrl-C; its text says how to go on.
        """
        plan = self._plan
        record = LaunchRecord(plan.name, self._aws.region, plan.job, endpoint_url=self._aws.endpoint_url)
        state = follow(self._jobs, record, poll_s=plan.settings.launch.poll_s)
        self._service.delete("model", str(plan.model["ModelName"]))
        answers = self._answers()
        try:
            check_outcome(state)
        except UserError as error:
            msg = (
                f"{error} One picture that cannot be read ends the whole job; its name is in the log above. "
                f"{len(answers)} answers lie below {plan.settings.output}."
            )
            raise UserError(msg) from error
        lines = [f"  {address}" for address in answers[:NUM_SHOWN]]
        if len(answers) > NUM_SHOWN:
            lines.append(f"  and {len(answers) - NUM_SHOWN} more")
        head = [f"job      {plan.name}, {state.status}", f"answers  {len(answers)} below {plan.settings.output}"]
        return "\n".join([*head, *lines, f"cost     {self._cost(state)}", ""])

    def _answers(self) -> list[str]:
        store, prefix = self._store(self._plan.settings.output)
        start = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        return [store.address(item.key) for item in store.list(start) if item.key.endswith(".out")]

    def _cost(self, state: JobState) -> str:
        cost = self._plan.cost
        if cost.least_usd is None or state.billable_s is None:
            return cost.describe()
        return f"about {cost.least_usd * state.billable_s / HOUR_S:.2f} USD ({state.billable_s} s; {cost.describe()})"

    def _store(self, address: str) -> tuple[S3Store, str]:
        from launch.aws.storage import S3Store

        bucket, prefix = key_of(address)
        return S3Store(self._aws, bucket), prefix
