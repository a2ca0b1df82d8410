"""Where the time of a training step goes, told by what Lightning announces to its profiler."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.profilers import PassThroughProfiler, Profiler

# In the order of a step. What is left of its time is Lightning's own.
PHASES = ("wait", "transfer", "forward", "backward", "optimizer", "callbacks")
# On a GPU these run while the host is far ahead: their time is the device's.
ON_DEVICE = frozenset({"forward", "backward", "optimizer"})
# By the last word of what Lightning announces: "[Strategy]SingleDeviceStrategy.training_step" and the like.
_PHASE_OF = {
    "train_dataloader_next": "wait",
    "batch_to_device": "transfer",
    "on_before_batch_transfer": "transfer",
    "on_after_batch_transfer": "transfer",
    "training_step": "forward",
    "backward": "backward",
    "optimizer_step": "optimizer",
}
_CALLBACK_HOOKS = frozenset({
    "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "on_train_batch_end",
})  # fmt: skip

_UNHEEDED = nullcontext()


class StepTime(NamedTuple):
    """What a step of the optimiser took: seconds in all, and by phase."""

    seconds: float
    phases: dict[str, float]


class PhaseClock(Profiler):
    """A profiler that only adds up, in the place of the trainer's, to which it passes on what it hears.

    Phases within others count only as themselves: the forward pass is called by the optimiser's step. On a GPU, events
    on its stream give the times of what runs there; they are read when the host has waited for the device anyway.

    Args:
        trainer: Its profiler is listened to until `leave`.
        device: Where the network computes.

    Attributes:
        annotates: Have torch's profiler note the phases, too.
        waited_s: Seconds of waiting for batches, since it began.
    """

    def __init__(self, trainer: L.Trainer, device: torch.device) -> None:
        super().__init__()
        self.annotates = False
        self.waited_s = 0.0
        self._trainer, self._theirs = trainer, trainer.profiler  # type: ignore[attr-defined]
        self._is_alone = isinstance(self._theirs, PassThroughProfiler)
        trainer.profiler = self  # type: ignore[attr-defined]
        self._device = device
        self._known: dict[str, str | None] = {}
        self._stack: list[tuple[str, float, float, Any]] = []
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._mark = time.perf_counter()
        self._events: list[tuple[str, Any, Any]] = []
        self._finished: list[tuple[StepTime, list[tuple[str, Any, Any]]]] = []

    @classmethod
    def of(cls, trainer: L.Trainer, device: torch.device) -> PhaseClock:
        """Return the one that listens to the trainer already, or a new one."""
        profiler = trainer.profiler  # type: ignore[attr-defined]
        return profiler if isinstance(profiler, cls) else cls(trainer, device)

    def leave(self) -> None:
        """Give the trainer its own profiler back."""
        if self._trainer.profiler is self:  # type: ignore[attr-defined]
            self._trainer.profiler = self._theirs

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Surround a phase, or what is none and costs nothing then: Lightning announces seventy things a step."""
        if self._is_alone and self._phase(action_name) is None:
            return _UNHEEDED
        return super().profile(action_name)

    def start(self, action_name: str) -> None:
        """Begin a phase; Lightning calls this."""
        self._theirs.start(action_name)
        phase = self._phase(action_name)
        if phase is None:
            return
        is_outermost = all(phase != outer for outer, *_ in self._stack)
        event = self._event() if is_outermost and phase in ON_DEVICE else None
        mark = torch.profiler.record_function(f"dogbreed.{phase}") if self.annotates else None
        if mark:
            mark.__enter__()  # type: ignore[no-untyped-call]
        self._stack.append((phase, time.perf_counter(), sum(self._spent.values()), (event, mark)))

    def stop(self, action_name: str) -> None:
        """End a phase; Lightning calls this."""
        self._theirs.stop(action_name)
        phase = self._phase(action_name)
        if phase is None or not self._stack or self._stack[-1][0] != phase:
            return
        _, began, spent_before, (event, mark) = self._stack.pop()
        within = sum(self._spent.values()) - spent_before
        own_s = max(0.0, time.perf_counter() - began - within)
        self._spent[phase] += own_s
        if phase == "wait":
            self.waited_s += own_s
        if mark:
            mark.__exit__(None, None, None)
        if event:
            self._events.append((phase, event, self._event()))

    def restart(self) -> None:
        """Leave out what has passed since the last step; what is going on begins now."""
        self._mark = time.perf_counter()
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._events = []
        self._stack = [(phase, self._mark, 0.0, more) for phase, _, _, more in self._stack]

    def end_step(self) -> None:
        """Note what has passed since the last step, or the last restart, as one; a callback calls this."""
        now, phases = time.perf_counter(), dict(self._spent)
        for phase, began, spent_before, _ in self._stack[-1:]:
            phases[phase] += max(0.0, now - began - (sum(self._spent.values()) - spent_before))
        self._finished.append((StepTime(now - self._mark, phases), self._events))
        self.restart()

    def take(self) -> list[StepTime]:
        """Return the steps since the last call; the device must have finished them."""
        finished, self._finished = self._finished, []
        return [StepTime(step.seconds, step.phases | _device_seconds(events)) for step, events in finished]

    def _phase(self, action: str) -> str | None:
        if action not in self._known:
            hook = action.rpartition(".")[2]
            is_callback = action.startswith("[Callback]") and hook in _CALLBACK_HOOKS
            self._known[action] = "callbacks" if is_callback else _PHASE_OF.get(hook)
        return self._known[action]

    def _event(self) -> Any:
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


def _device_seconds(events: list[tuple[str, Any, Any]]) -> dict[str, float]:
    """Return the device's seconds by phase; those of forward and backward lie within the optimiser's."""
    seconds: dict[str, float] = {}
    for phase, begin, end in events:
        seconds[phase] = seconds.get(phase, 0.0) + begin.elapsed_time(end) / 1000
    if "optimizer" in seconds:
        within = sum(seconds.get(phase, 0.0) for phase in ("forward", "backward"))
        seconds["optimizer"] = max(0.0, seconds["optimizer"] - within)
    return seconds
