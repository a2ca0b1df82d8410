"""What goes wrong in a run, found by rules while it trains; and where its time goes."""

from dogbreed.diagnosis.build import build_callbacks
from dogbreed.diagnosis.monitor import Monitor
from dogbreed.diagnosis.profiler import Profiler
from dogbreed.diagnosis.rule import Finding, Rule

__all__ = ["Finding", "Monitor", "Profiler", "Rule", "build_callbacks"]
