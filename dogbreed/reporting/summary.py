"""A run in a few lines of text: what its page says first."""

from __future__ import annotations

from pathlib import Path

from dogbreed.errors import count
from dogbreed.reporting.curves import judge_run
from dogbreed.reporting.run import load_run
from dogbreed.reporting.verdict import headline, worst_findings


def summarise(run_dir: Path) -> str:
    """Say what a run has come to, what its curves mean, and its worst findings with advice.

    Args:
        run_dir: The run folder, at whatever moment of the run's life.

    Returns:
        Lines to be read, without a trailing newline.

    Raises:
        UserError: there is no run in the folder, or nothing of it can be read.
    """
    run = load_run(run_dir)
    first, curves, findings = headline(run), judge_run(run), worst_findings(run.rules)
    lines = [f"{first.title}. {first.words}"]
    if curves:
        lines.append(curves.sentence)
    for finding in findings:
        rule = finding.rule
        lines.append(f"{rule.name} ({finding.harm}, first in step {rule.first_step}): {rule.evidence}. {rule.advice}")
    silent = sum(rule.verdict == "ok" for rule in run.rules)
    if run.rules:
        more = sum(rule.is_issue for rule in run.rules) - len(findings)
        lines.append(f"{count(silent, 'rule')} found nothing wrong{f', {more} more something' if more else ''}.")
    return "\n".join(lines)
