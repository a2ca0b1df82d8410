"""What goes wrong in a run, found by rules while it trains; and where its time goes."""

from dogbreed.diagnosis.build import build_callbacks
from dogbreed.diagnosis.hook import SmdebugHook
from dogbreed.diagnosis.monitor import Monitor
from dogbreed.diagnosis.profiler import Profiler
from dogbreed.diagnosis.rule import Finding, Rule
from dogbreed.diagnosis.smdebug_compat import import_smdebug

__all__ = ["Finding", "Monitor", "Profiler", "Rule", "SmdebugHook", "build_callbacks", "import_smdebug"]
