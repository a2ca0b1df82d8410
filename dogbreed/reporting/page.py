"""Pages that hold everything themselves: markup, style, drawings and pictures. They ask nobody for anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.errors import count
from dogbreed.files import write_text
from dogbreed.reporting import sections, words
from dogbreed.reporting.run import Run, load_run
from dogbreed.reporting.verdict import headline, worst_findings
from dogbreed.run_files import PROFILE, REPORT_HTML, TRACE

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Entry:
    """A line of the table of contents: the section's id and its title."""

    anchor: str
    title: str


CONTENTS = (
    Entry("findings", "Findings"),
    Entry("curves", "Learning curves"),
    Entry("rules", "Rules"),
    Entry("steps", "Steps"),
    Entry("phases", "Phases"),
    Entry("operators", "Operators"),
    Entry("machine", "Machine"),
    Entry("classes", "Classes"),
    Entry("mistakes", "Mistakes"),
    Entry("calibration", "Calibration"),
    Entry("config", "Configuration"),
)


def write_report(run_dir: Path, out: Path | None = None) -> Path:
    """Write the report of a run, whole or not at all.

    Args:
        run_dir: The run folder, at whatever moment of the run's life.
        out: The page; ``report.html`` in the run folder by default.

    Returns:
        Where it was written.

    Raises:
        UserError: there is no run in the folder, or nothing of it can be read.
        OSError: the page cannot be written.
    """
    page = render_run(load_run(run_dir))
    target = out or run_dir / REPORT_HTML
    write_text(target, page)
    return target


def render_run(run: Run) -> str:
    """Return the page of a run."""
    return render(
        "run.html",
        title=f"{run.name} – run report",
        contents=CONTENTS,
        run=run,
        headline=headline(run),
        what=sections.model_words(run),
        tiles=sections.tiles_of(run),
        findings=worst_findings(run.rules),
        num_issues=sum(rule.is_issue for rule in run.rules),
        curves=sections.curves_part(run),
        steps=sections.steps_part(run),
        operators={device: sections.operators_of(run.operators, device) for device in ("cpu", "gpu")},
        trace=f"{PROFILE}/{TRACE}",
        usage=sections.usage_figures(run),
        loaders=sections.loaders_of(run),
        quality=sections.quality_part(run),
        facts=sections.facts_of(run),
    )


def render(template: str, **values: Any) -> str:
    """Fill a template; bytes of names that are no text are replaced, numbers and their percent signs stay together."""
    page = words.printable(_environment().get_template(template).render(**values))
    return re.sub(r"(?<=\d) %", "\u00a0%", page)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    writers = (
        *(words.percent, words.number, words.duration, count, words.setting),
        *(words.breakable, words.capitalize_first, sections.data_uri),
    )
    environment.filters.update({writer.__name__: writer for writer in writers})
    return environment
