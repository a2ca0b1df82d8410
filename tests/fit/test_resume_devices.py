"""A run on several devices that was interrupted ends as one that was not."""

import os
import signal
import time

import children
import pytest
import timm
from helpers import QUICK
from safetensors.torch import save_file


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_two_devices_go_on_as_if_nothing_had_been(tree, tmp_path, how):
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    options = [
        *QUICK,
        "data=folder",
        f"data.root='{tree}'",
        f"model.weights='{tmp_path / 'w.safetensors'}'",
        "finetune=head_then_full",
        "finetune.batchnorm=train",
        "model.dropout=0.3",
        "augment.mix.probability=0.5",
        "ema=default",
        "data.batch_size=4",
        "trainer.devices=2",
        "trainer.max_epochs=6",
        "trainer.log_every_n_steps=1",
        "checkpoint_every_s=0",
    ]
    assert children.run(options, tmp_path / "whole") == 0
    expected = children.outcome(tmp_path / "whole")
    run_dir = tmp_path / "run"
    said = tmp_path / "run.out"
    process = children.start(options, run_dir)
    children.wait_for("epoch 3/6", said, process)
    time.sleep(0.1)  # somewhere within the next epoch
    os.kill(process.pid, how)
    assert children.end(process) == (-signal.SIGKILL if how == signal.SIGKILL else 130), said.read_text()
    assert children.run(options, run_dir) == 0, said.read_text()
    assert f"resume  {run_dir}, epoch" in said.read_text()
    assert children.outcome(run_dir) == expected
