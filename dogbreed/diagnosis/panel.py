"""All rules of a run, and what they have found. Knows no trainer: a recording can be shown to it as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dogbreed.diagnosis.observations import Observation, Setting
from dogbreed.diagnosis.rule import Finding, Rule, is_plain, parameters_of, plain
from dogbreed.files import write_json


@dataclass
class Verdict:
    """What a rule has said so far.

    Args:
        first: What it found first; None for nothing.
        last: What it found last.
        count: How often it found something.
        skipped: Why it does not apply here; empty where it does.
    """

    first: Finding | None = None
    last: Finding | None = None
    count: int = 0
    skipped: str = ""


class RulePanel:
    """Shows observations to rules and keeps their verdicts.

    Args:
        rules: By the name that reports give them.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = dict(rules)
        self.verdicts = {name: Verdict() for name in rules}

    def show(self, seen: Observation) -> dict[str, Finding]:
        """Show all rules what was seen.

        Returns:
            What is wrong for the first time, by rule.
        """
        news = {}
        for name, rule in self.rules.items():
            verdict = self.verdicts[name]
            if isinstance(seen, Setting):
                verdict.skipped = rule.skipped_because(seen)
            finding = None if verdict.skipped else rule.look(seen)
            if finding is None:
                continue
            if verdict.first is None:
                verdict.first = news[name] = finding
            verdict.last = finding
            verdict.count += 1
        return news

    def table(self) -> list[dict[str, Any]]:
        """Return the objects of ``diagnosis.json``: what is wrong first, then what is right, then what was skipped."""
        rows = [self._row(name) for name in self.rules]
        return sorted(rows, key=lambda row: ("issue", "ok", "skipped").index(row["verdict"]))

    def _row(self, name: str) -> dict[str, Any]:
        verdict, rule = self.verdicts[name], self.rules[name]
        first, last = verdict.first, verdict.last
        return {
            "name": name,
            "verdict": "issue" if first else "skipped" if verdict.skipped else "ok",
            "first_step": first.step if first else None,
            "last_step": last.step if last else None,
            "count": verdict.count,
            "evidence": last.evidence if last else verdict.skipped or None,
            "advice": rule.advice if first else None,
            "values": dict(last.values) if last else {},
            "parameters": parameters_of(rule),
        }

    def write(self, file: Path) -> None:
        """Write ``diagnosis.json``, whole or not at all."""
        write_json(file, self.table())

    def state(self) -> dict[str, Any]:
        """Return what rules remember and have found."""
        return {
            name: {"rule": rule.state(), "verdict": _state(self.verdicts[name])} for name, rule in self.rules.items()
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there; rules that were not there begin."""
        for name, theirs in state.items():
            if name in self.rules:
                self.rules[name].load_state(theirs["rule"])
                found = dict(theirs["verdict"])
                for key in ("first", "last"):
                    found[key] = Finding(**found[key]) if found[key] else None
                self.verdicts[name] = Verdict(**found)


def _state(verdict: Verdict) -> dict[str, Any]:
    state = asdict(verdict)
    for found in (state["first"], state["last"]):
        if found and not is_plain(found["values"]):
            found["values"] = {}
    kept: dict[str, Any] = plain(state)
    return kept
