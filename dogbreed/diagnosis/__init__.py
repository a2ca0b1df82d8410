"""What goes wrong in a run, found by rules while it trains."""

from dogbreed.diagnosis.monitor import Monitor
from dogbreed.diagnosis.rule import Finding, Rule

__all__ = ["Finding", "Monitor", "Rule"]
