"""Rows of results, and where they are kept."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from dogbreed.files import read_csv, write_csv
from dogbreed.machine import describe_machine, versions
from dogbreed.tables import format_table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One figure beside its peer's.

    Args:
        bench: Which benchmark.
        case: What was measured, with everything that decides it.
        ours: Our figure.
        peer_name: Whose figure is beside it.
        peer: That figure, from the same run; or the figure that must be reached.
        unit: Of both.
        target: Bound on ours / peer; None for a figure that is only shown.
        sense: ``min`` if the ratio must be at least the target, ``max`` if at most.
    """

    bench: str
    case: str
    ours: float
    peer_name: str
    peer: float
    unit: str
    target: float | None = None
    sense: str = "min"

    @property
    def ratio(self) -> float:
        return self.ours / self.peer

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        reached = self.ratio >= self.target if self.sense == "min" else self.ratio <= self.target
        return "reached" if reached else "MISSED"


def save(bench: str, rows: Sequence[Row]) -> Path:
    """Put a benchmark's rows for this machine in the place of its older ones; other machines' rows stay."""
    file = RESULTS / f"{bench}.csv"
    machine = machine_name()
    kept = [row for row in read_csv(file) if row["machine"] != machine]
    versions_text = " ".join(f"{name}={version}" for name, version in versions().items() if name != "dogbreed")
    new = [
        {
            **{key: _rounded(value) for key, value in asdict(row).items() if key not in ("target", "sense")},
            "ratio": _rounded(row.ratio),
            "target": row.target,
            "sense": row.sense if row.target is not None else None,
            "machine": machine,
            "versions": versions_text,
            "date": date.today().isoformat(),
        }
        for row in rows
    ]
    RESULTS.mkdir(exist_ok=True)
    write_csv(file, kept + new)
    return file


def table(rows: Sequence[Row]) -> str:
    """Format rows for the terminal."""
    return format_table(
        ["case", "ours", "peer", "unit", "peer's name", "ratio", "target", ""],
        [
            [
                row.case,
                float(row.ours),
                float(row.peer),
                row.unit,
                row.peer_name,
                row.ratio,
                "" if row.target is None else f"{'≥' if row.sense == 'min' else '≤'} {row.target:g}",
                row.verdict,
            ]
            for row in rows
        ],
    )


def machine_name() -> str:
    """Name the processor and what may be used of it; the GPU where there is one."""
    machine = describe_machine()
    return ", ".join([machine["cpu"], f"{machine['num_cpus']} cores", *machine["gpus"][:1]])


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def _rounded(value):
    return float(f"{value:.5g}") if isinstance(value, float) else value
