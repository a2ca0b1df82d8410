"""Callbacks that tests send into the ranks of a run."""

import json
import os
import signal
import time
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from dogbreed.diagnosis import Finding, Rule
from dogbreed.diagnosis.observations import StepLoss
from dogbreed.distributed import any_rank, from_all, is_main, world
from dogbreed.errors import UserError


def checksum(module):
    """Sum up every parameter and running statistic, exactly enough to tell any two apart."""
    return {name: float(tensor.double().abs().sum()) for name, tensor in module.net.state_dict().items()}


class Checksums(Callback):
    """Write down, for each epoch, what each rank's network holds when it is validated and when the epoch ends."""

    def __init__(self, file):
        self.file = Path(file)
        self.seen = []

    def _gather(self, when, trainer, module):
        sums = from_all(checksum(module))
        draws = from_all(torch.initial_seed())
        assert any_rank(world().rank == 1)
        assert not any_rank(False)
        trains = [p.requires_grad for p in module.net.parameters()]
        self.seen.append(
            {"when": when, "epoch": trainer.current_epoch, "sums": sums, "seeds": draws, "trains": sum(trains)}
        )
        if is_main():
            self.file.write_text(json.dumps(self.seen))

    def on_validation_end(self, trainer, module):
        self._gather("validation", trainer, module)

    def on_train_epoch_end(self, trainer, module):
        self._gather("epoch", trainer, module)


class Pids(Callback):
    """Leave each rank's process number in a folder."""

    def __init__(self, folder):
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / str(world().rank)).write_text(str(os.getpid()))


class CtrlC(Callback):
    """Press Ctrl-C in the second step, unless a file says that it has been."""

    def __init__(self, file):
        self.file = Path(file)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == 1 and not self.file.exists():
            self.file.touch()
            signal.raise_signal(signal.SIGINT)


class Trouble(Callback):
    """Make one rank fail in its second step."""

    def __init__(self, how, rank=1):
        self.how = how
        self.rank = rank

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx != 1 or world().rank != self.rank:
            return
        if self.how == "leave":
            print("my last words", flush=True)
            os._exit(3)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "sleep":
            time.sleep(600)
        if self.how == "sentence":
            msg = "The picture x.jpg is broken: restore it."
            raise UserError(msg)
        msg = "out of luck"
        raise RuntimeError(msg)


class Hangs(Callback):
    """Hold the third step up."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 3:
            time.sleep(2.5)


class AfterThree(Rule):
    """Does not like the third step."""

    def look(self, seen):
        return Finding(seen.step, "a third step") if isinstance(seen, StepLoss) and seen.step == 3 else None
