"""A run on its way: what a shipped job answers to whoever waits for it."""

from __future__ import annotations

from typing import Protocol

from launch.protocols import JobState


class Shipment(Protocol):
    """One job that was sent."""

    def poll(self) -> JobState:
        """Ask what has become of it."""

    def fetch(self) -> None:
        """Bring what it has written into its run folder; of a job that failed, what there is."""

    def stop(self) -> None:
        """Ask for its end."""
