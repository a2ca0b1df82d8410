"""Pages about runs, made from their folders alone: what a run has come to, and several runs side by side."""

from dogbreed.reporting.aside import write_aside
from dogbreed.reporting.comparison import write_comparison
from dogbreed.reporting.page import write_report
from dogbreed.reporting.search import holds_sweep
from dogbreed.reporting.summary import summarise
from dogbreed.reporting.sweep import write_sweep_page

__all__ = ["holds_sweep", "summarise", "write_aside", "write_comparison", "write_report", "write_sweep_page"]
