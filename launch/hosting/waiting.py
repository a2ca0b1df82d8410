"""Wait for an endpoint, with its phases and their seconds."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from tqdm import tqdm

from dogbreed.errors import UserError
from launch.follow import patiently, say
from launch.hosting.protocols import EndpointState

if TYPE_CHECKING:
    from launch.aws.endpoints import Endpoints

# Where nobody watches a line that changes, it is told anew after so many seconds that something goes on.
REMINDER_S = 60.0
# Between the first two looks; twice as long each time.
FIRST_PAUSE_S = 0.2


def wait_while(service: Endpoints, name: str, poll_s: float) -> EndpointState | None:
    """Wait until nothing is being done with an endpoint any more; tell phases and seconds.

    Args:
        service: Where it is.
        name: Of it.
        poll_s: Seconds between two looks, > 0.

    Returns:
        How it stands; None if there is none (any more).

    Raises:
        UserError: AWS refuses to tell.
    """
    started = time.monotonic()
    shown, told, pause_s = "", started, min(FIRST_PAUSE_S, poll_s)
    with tqdm(total=0, bar_format="{desc}", disable=None, leave=False) as line:
        while True:
            state = patiently(partial(service.find, name), f"The endpoint {name}")
            seconds = time.monotonic() - started
            if state is None or not state.is_in_progress:
                if shown:
                    line.clear()
                    say(f"{time.strftime('%H:%M:%S')}  {state.status if state else 'gone'}  ({seconds:.0f} s)")
                return state
            phase = phase_of(state)
            if phase != shown or (line.disable and time.monotonic() - told >= REMINDER_S):
                with tqdm.external_write_mode():
                    say(f"{time.strftime('%H:%M:%S')}  {phase}" + (f"  ({seconds:.0f} s)" if shown else ""))
                shown, told = phase, time.monotonic()
            line.set_description_str(f"launch  {name}: {phase}, {seconds:.0f} s")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, poll_s)


def phase_of(state: EndpointState) -> str:
    """Return what is being done with an endpoint, as precisely as SageMaker tells."""
    pending = state.description.get("PendingDeploymentSummary") or {}
    details = [
        status.get("StatusMessage") or status["Status"]
        for variant in pending.get("ProductionVariants") or ()
        for status in variant.get("VariantStatus") or ()
    ]
    found = [detail for detail in dict.fromkeys(details) if detail != state.status]
    return f"{state.status}: {', '.join(found)}" if found else state.status


def delete_patiently(service: Endpoints, name: str, poll_s: float) -> bool:
    """Delete an endpoint as soon as it can be, and wait until it is gone; False if there is none.

    SageMaker refuses to delete what is being made or changed; a container that never becomes healthy is given up only
    after its time for that, so that this may take many minutes.

    Raises:
        UserError: AWS refuses.
    """
    from launch.aws.endpoints import BusyError

    is_told = False
    while True:
        try:
            if not service.delete("endpoint", name):
                return False
        except BusyError as error:
            if not is_told:
                say(f"{error} Waiting …")
                is_told = True
            if wait_while(service, name, poll_s) is None:
                return True
            continue
        left = wait_while(service, name, poll_s)
        if left is not None and left.status == "Failed" and left.failure:
            msg = f"The endpoint {name} could not be deleted ({left.failure}): call again."
            raise UserError(msg)
        return True
