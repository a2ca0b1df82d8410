"""Runs on several devices: started, watched and held against each other."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import QUICK, rows_of
from safetensors.torch import load_file

CALLBACK = "+callbacks.{name}._target_=rank_callbacks.{name}"


def options(tree, *more):
    return [*QUICK, "data=folder", f"data.root='{tree}'", "model.dropout=0", *more]


def callback(name, **values):
    return [CALLBACK.format(name=name), *(f"+callbacks.{name}.{key}={value}" for key, value in values.items())]


def is_alive(pid):
    """A process that has ended but was not waited for by its new parent counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(folder, num_ranks=2, timeout_s=10):
    pids = [int(file.read_text()) for file in folder.iterdir()]
    assert len(pids) == num_ranks
    deadline = time.monotonic() + timeout_s
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, "a rank has outlived its run"
        time.sleep(0.05)


def assert_same_run(one, two):
    """Hold two runs against each other: every loss, metric, prediction and weight."""
    for theirs, ours in zip(rows_of(one / "metrics.csv"), rows_of(two / "metrics.csv"), strict=True):
        for key, value in theirs.items():
            if key.startswith(("train/", "val/", "lr/")) or key in ("epoch", "step"):
                assert float(ours[key]) == pytest.approx(float(value), abs=1e-5), key
    theirs, ours = (json.loads((run / "metrics.json").read_text()) for run in (one, two))
    for key, value in theirs.items():
        if "/" in key:
            assert ours[key] == pytest.approx(value, abs=1e-5), key
    for name in ("predictions.csv", "confusion.csv", "splits.csv"):
        for theirs, ours in zip(rows_of(one / name), rows_of(two / name), strict=True):
            assert float(ours.pop("probability", 0)) == pytest.approx(float(theirs.pop("probability", 0)), abs=1e-5)
            assert ours == theirs
    kept = [load_file(run / "model" / "model.safetensors") for run in (one, two)]
    last = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (one, two)]
    for theirs, ours in (kept, last):
        assert theirs.keys() == ours.keys()
        for name, tensor in theirs.items():
            torch.testing.assert_close(ours[name], tensor, atol=1e-5, rtol=1e-5)


def start(tmp_path, *words, **more):
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
