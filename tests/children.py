"""Runs in processes of their own that start in no time and can be killed."""

import contextlib
import gc
import importlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
from pathlib import Path

# Rules whose verdict is the machine's, not the run's.
OF_TIME = ("dataloader", "step_outlier", "io_bottleneck")
PRELOADED = ["dogbreed.fit.run", "dogbreed.fit.resume", "timm.models", "matplotlib.figure", "children"]


def start(overrides, run_dir, **options):
    """Start ``fit_run`` in a process that a prepared one forks: importing torch again would take seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_run, args=(list(overrides), str(run_dir)), kwargs=options)
    process.start()
    return process


def run(overrides, run_dir, **options) -> int:
    """Run to the end; return the exit code, negative for a signal."""
    return end(start(overrides, run_dir, **options))


def start_command(command, arguments, cwd):
    """Start a command as a shell would; what it prints goes to ``cwd/PID.out``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_command, args=(command, list(map(str, arguments)), str(cwd)))
    process.start()
    return process


def end(process, timeout_s=120) -> int:
    """Wait for a process; return its exit code, negative for a signal."""
    process.join(timeout_s)
    if process.is_alive():
        process.kill()
        raise AssertionError("hangs")
    return process.exitcode


def kill_orphans(process):
    """End what a killed process has started: a loader process that was just being born never learns of its death."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def printed(process, cwd) -> str:
    return Path(cwd, f"{process.pid}.out").read_text()


def wait_for(text, file, process, timeout_s=60):
    """Wait until a process has printed something."""
    started = time.monotonic()
    while text not in (Path(file).read_text() if Path(file).exists() else ""):
        assert process.is_alive(), Path(file).read_text()
        assert time.monotonic() - started < timeout_s, f"never said {text!r}"
        time.sleep(0.02)


def _command(command, arguments, cwd):
    import torch

    os.setpgrp()
    os.chdir(cwd)
    torch.set_num_threads(1)
    _redirect(f"{os.getpid()}.out")
    sys.argv = [f"dogbreed.{command}", *arguments]
    importlib.import_module(f"dogbreed.{command}").main()


def _redirect(file):
    multiprocessing.set_start_method("fork", force=True)  # a loader process is forked, as everywhere else
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)


def _run(overrides, run_dir, die_in=None, nth=1, number=signal.SIGKILL):
    import torch

    from dogbreed import UserError, compose, fit_run

    os.setpgrp()
    torch.set_num_threads(1)
    Path(run_dir).parent.mkdir(exist_ok=True, parents=True)
    _redirect(f"{run_dir}.out")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if die_in:
        _die_in(die_in, nth, number)
    try:
        fit_run(compose(overrides), run_dir)
    except UserError as error:
        print(f"Error: {error}", flush=True)
        os._exit(2)
    except KeyboardInterrupt as interruption:
        print(f"Interrupted. {interruption}", flush=True)
        os._exit(130)
    except BaseException:  # noqa: BLE001 -- whatever it is, this process must not return into its parent's code
        traceback.print_exc()
        os._exit(1)


def _die_in(name, nth, number):
    """Have this process get a signal when it comes to a function for the nth time."""
    module_name, _, function = name.rpartition(".")
    module = __import__(module_name, fromlist=[function])
    original = getattr(module, function)
    calls = 0

    def dying(*args, **options):
        nonlocal calls
        calls += 1
        if calls == nth:
            os.kill(os.getpid(), number)
        return original(*args, **options)

    setattr(module, function, dying)


def outcome(run_dir):
    """Return all numbers of a finished run that must not depend on what interrupted it."""
    import torch
    from safetensors.torch import load_file

    run_dir = Path(run_dir)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    rows = [line.split(",") for line in (run_dir / "metrics.csv").read_text().splitlines()]
    diagnosis = [row for row in json.loads((run_dir / "diagnosis.json").read_text()) if row["verdict"] == "issue"]
    timed = {rows[0].index(name) for name in ("seconds", "images_per_second", "data_wait_share")}
    (file,) = (run_dir / "checkpoints").glob("[lf]*.ckpt")  # last.ckpt; finished.ckpt in a folder of its own
    checkpoint = torch.load(file, weights_only=True)
    return {
        "metrics": {key: value for key, value in metrics.items() if "/" in key},
        "rows": [[cell for number, cell in enumerate(row) if number not in timed] for row in rows],
        "steps": [line.split(",")[:2] for line in (run_dir / "steps.csv").read_text().splitlines()],
        "issues": [(row["name"], row["first_step"]) for row in diagnosis if row["name"] not in OF_TIME],
        "predictions": (run_dir / "predictions.csv").read_text(),
        "best": _bits(load_file(run_dir / "model" / "model.safetensors")),
        "last": _bits(checkpoint["state_dict"]),
        "optimizer": [_bits(state) for state in checkpoint["optimizer_states"][0]["state"].values()],
        "epoch": checkpoint["epoch"],
        "step": checkpoint["global_step"],
    }


def _bits(tensors):
    import torch

    return {name: tensor.flatten().view(torch.uint8).numpy().tobytes() for name, tensor in tensors.items()}


def said(run_dir):
    return run_dir.with_name(f"{run_dir.name}.out").read_text()


def check_goes_on(options, run_dir, expected):
    assert run(options, run_dir) == 0, said(run_dir)
    assert outcome(run_dir) == expected
    assert not list(run_dir.rglob(".*.ckpt.*"))
    assert json.loads((run_dir / "run.json").read_text())["state"] == "completed"


# Imported by the process that others are forked from: none of them need look through what it has imported.
gc.freeze()
