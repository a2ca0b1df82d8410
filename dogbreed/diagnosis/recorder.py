"""smdebug's hook, told by us when a step begins and what belongs to it.

smdebug counts forward passes, from hooks that it leaves on every layer for good. Here the caller counts, so that
accumulated batches make one step and a run that goes on finds its numbers; and layers carry hooks only while a step
that is saved is made.
"""

from __future__ import annotations

import atexit
import importlib
import json
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dogbreed.diagnosis.smdebug_compat import import_smdebug
from dogbreed.errors import UserError

# What smdebug calls the loss of torch's own module, and notebooks plot.
LOSS = "CrossEntropyLoss"


class Recorder:
    """Saves tensors of some steps through ``smdebug.pytorch.Hook``, the only one of its process.

    Args:
        config: Content of a ``debughookconfig.json``, with its ``LocalPath``.
        source: Where that comes from, for sentences.

    Raises:
        UserError: smdebug is not installed, cannot take the configuration, or has a hook already.
    """

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self._smd = import_smdebug()
        self._singleton = importlib.import_module("smdebug.core.singleton_utils")
        self._agent = importlib.import_module("smdebug.core.utils").error_handling_agent
        theirs = self._singleton.get_hook(json_config_path=None, hook_class=None, create_if_not_exists=False)
        if theirs is not None:
            msg = f"smdebug has a hook in this process already, which saves to {theirs.out_dir}: leave one of them out."
            raise UserError(msg)
        errors = importlib.import_module("smdebug.exceptions").SMDebugError
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "debughookconfig.json")
            file.write_text(json.dumps(config), encoding="utf-8")
            try:
                self.hook = self._smd.Hook.create_from_json_file(str(file))
                self.hook._prepare_collections()  # noqa: SLF001 -- else only in the first step
            except (errors, ValueError, TypeError, AttributeError) as error:
                self._forget()
                msg = f"smdebug cannot take {source}: {' '.join(str(error).split())}"
                raise UserError(msg) from error
        self.saves = False
        self._net: nn.Module | None = None
        self._handles: list[Any] = []

    def begin(self, net: nn.Module, mode: str, step: int, global_step: int) -> bool:
        """Begin a step: save weights, and listen to what layers give, if it is time.

        Args:
            net: The network.
            mode: ``TRAIN`` or ``EVAL``.
            step: Of that mode, from 0.
            global_step: Of both, from 0.

        Returns:
            Whether the step is saved.
        """
        self.end()
        hook = self.hook
        hook.set_mode(self._smd.modes[mode])
        hook.step = hook.mode_steps[self._smd.modes.GLOBAL] = global_step
        hook.mode_steps[hook.mode] = step
        hook.written_tensor_name_for_step.clear()
        self.saves = bool(hook._get_collections_to_save_for_step())  # noqa: SLF001
        if self.saves:
            hook._initialize_writers()  # noqa: SLF001
            with torch.no_grad():
                hook._log_params(net)  # noqa: SLF001
            self._net = net
            for name, layer in net.named_modules():
                self._handles.append(layer.register_forward_hook(partial(self._see, name or type(net).__name__)))
        return self.saves

    def stop_listening(self) -> None:
        """Take all hooks off the network."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def see_gradients(self, scale: float = 1.0) -> None:
        """Save what the optimiser is about to use.

        Args:
            scale: By which a loss scaler has multiplied it.
        """
        if self._net is None:
            return
        for name, parameter in self._net.named_parameters():
            if parameter.grad is not None:
                gradient = parameter.grad if scale == 1 else parameter.grad / scale
                self.hook.backward_hook(f"{type(self._net).__name__}_{name}")(gradient)

    def see_loss(self, loss: Tensor) -> None:
        """Save the step's loss."""
        if self.saves:
            self.hook.record_tensor_value(LOSS, loss.detach())

    def see_scalars(self, values: Mapping[str, float]) -> None:
        """Save numbers with the step that was begun last, whether it is saved or not."""
        for name, value in values.items():
            self.hook.save_scalar(name, value, sm_metric=True)

    def end(self) -> None:
        """Write the step, if there is one."""
        self.stop_listening()
        was_saved, self.saves, self._net = self.saves, False, None
        if was_saved:
            self.hook._save_custom_tensors_post_step()  # noqa: SLF001 -- of the user's own save_tensor
        if was_saved or self.hook.scalar_cache:
            self.hook._close_writers()  # noqa: SLF001
        if was_saved and not self.hook.exported_collections:
            self.hook.export_collections()  # who reads along waits for the file
            self.hook.exported_collections = True

    def close(self) -> None:
        """Write what is left and say that training has ended; another hook may follow."""
        try:
            self.end()
            self.hook.exported_collections = False  # once more, with the tensors that came later
            self.hook.close()
        finally:
            self._forget()

    def _see(self, name: str, layer: nn.Module, inputs: Any, outputs: Any) -> None:
        with torch.no_grad():
            self.hook._write_inputs(name, inputs)  # noqa: SLF001
            self.hook._write_outputs(name, outputs)  # noqa: SLF001

    def _forget(self) -> None:
        made = self._singleton.get_hook(json_config_path=None, hook_class=None, create_if_not_exists=False)
        if made is not None:
            # What it would do when Python ends: open its folder again, wherever the run has gone by then.
            atexit.unregister(made._cleanup)  # noqa: SLF001
        self._singleton.del_hook()
        self._agent.set_hook(None)


def clear_ended(folder: Path) -> bool:
    """Let a trial that has ended, or whose process was killed, go on in its folder; say whether it was such a one."""
    marks = [folder / name for name in ("training_job_end.ts", "claim.smd") if (folder / name).exists()]
    for mark in marks:
        mark.unlink()
    return bool(marks)
