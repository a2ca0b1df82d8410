"""What the page of a run of 10,000 steps takes: to write, to open in a browser, and on the disk."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.commands import TOP
from benchmarks.record import Row, median
from dogbreed.files import write_csv, write_json

REPEATS = 5
NUM_STEPS, NUM_EPOCHS, NUM_CORES = 10_000, 50, 16
WRITE_LIMIT_S, OPEN_LIMIT_S, SIZE_LIMIT_KB = 5.0, 2.0, 500
PHASES = ("wait_s", "transfer_s", "forward_s", "backward_s", "optimizer_s", "callbacks_s")


def run() -> list[Row]:
    """Write the page with the command, and open it in Chromium where there is one."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        _make_run(run_dir)
        command = [sys.executable, "-m", "dogbreed.report", str(run_dir)]
        seconds = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            subprocess.run(command, cwd=TOP, capture_output=True, check=True)
            seconds.append(time.perf_counter() - started)
        page = run_dir / "report.html"
        case = f"report of {NUM_STEPS:,} steps"
        size_kb = page.stat().st_size / 1000
        rows = [
            Row("report", f"{case}, written by the command", median(seconds), "limit", WRITE_LIMIT_S, "s", 1.0, "max"),
            Row("report", f"{case}, size without pictures", size_kb, "limit", SIZE_LIMIT_KB, "kB", 1.0, "max"),
        ]
        opened = _open(page)
        if opened:
            case = f"{case}, until all of it is laid out in Chromium"
            rows.append(Row("report", case, median(opened), "limit", OPEN_LIMIT_S, "s", 1.0, "max"))
        return rows


def _open(page: Path) -> list[float]:
    """Return the seconds from the address to a page that is laid out and painted; none without a browser."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("Chromium is not on the PATH: how soon the page opens is not measured.")
        return []
    from playwright.sync_api import sync_playwright

    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        for _ in range(REPEATS + 1):
            tab = browser.new_context(offline=True, viewport={"width": 1360, "height": 900}).new_page()
            started = time.perf_counter()
            tab.goto(page.as_uri())
            tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            seconds.append(time.perf_counter() - started)
            tab.close()
        browser.close()
    return seconds[1:]  # the first one starts the browser's processes


def _make_run(folder: Path) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    steps = np.arange(1, NUM_STEPS + 1)
    phases = np.abs(rng.normal([0.005, 0.001, 0.03, 0.06, 0.008, 0.001], 0.002, (NUM_STEPS, 6)))
    phases[rng.choice(NUM_STEPS, 100, replace=False), 0] += 1
    columns = {"step": steps, "loss": 4 * np.exp(-steps / 2000) + rng.normal(0, 0.1, NUM_STEPS)}
    _write(folder / "steps.csv", columns | {"seconds": phases.sum(1)} | dict(zip(PHASES, phases.T, strict=True)))
    epochs = np.arange(1, NUM_EPOCHS + 1)
    losses = {f"{split}/loss": 3 * np.exp(-epochs / 10) + 0.1 for split in ("train", "val")}
    accuracy = {f"{split}/acc_top1": 1 - np.exp(-epochs / 10) for split in ("train", "val")}
    _write(folder / "metrics.csv", {"epoch": epochs, **losses, **accuracy, "lr/head": 1e-3 / epochs})
    seconds = np.arange(0, 2000, 2.0)
    cores = {f"cpu{core}": rng.random(len(seconds)) for core in range(NUM_CORES)}
    gpu = {"gpu0": rng.random(len(seconds)), "gpu0_memory": rng.random(len(seconds))}
    _write(
        folder / "system.csv",
        {"seconds": seconds, "io_wait": 0 * seconds, "memory_gb": 8 + 0 * seconds, **cores, **gpu},
    )
    write_json(folder / "run.json", {"state": "completed", "machine": {"num_cpus": NUM_CORES, "gpus": ["a GPU"]}})
    write_json(folder / "metrics.json", {"test/acc_top1": 0.9, "val/acc_top1": 0.9})


def _write(file: Path, columns: dict[str, np.ndarray]) -> None:
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    write_csv(file, [dict(zip(columns, row, strict=True)) for row in values])
