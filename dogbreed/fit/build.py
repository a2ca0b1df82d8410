"""From the nodes of a resolved configuration to objects that are prepared for each other."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra._internal.utils import _locate  # get_object logs what is not there
from hydra.errors import InstantiationException
from hydra.utils import get_object
from hydra.utils import instantiate as hydra_instantiate
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import DictConfig, OmegaConf

from dogbreed.classifier import ImageClassifier
from dogbreed.config import num_ranks, objectives, resolve
from dogbreed.datamodule import ImageDataModule
from dogbreed.distributed import from_all, from_main, world
from dogbreed.errors import UserError, did_you_mean
from dogbreed.fit.callbacks import OwnRandomness
from dogbreed.fit.checkpoint_file import WholeCheckpointIO
from dogbreed.fit.run_folder import RunFolder
from dogbreed.nets.backbone import check_weights, fetch_pretrained
from dogbreed.nets.flops import count_parameters

log = logging.getLogger(__name__)
_LOCATED = re.compile(r"Error locating target '([^']+)'")


def instantiate(node: DictConfig, **arguments: Any) -> Any:
    """Build the object of a ``_target_`` node, from plain lists and dicts.

    OmegaConf's containers would end up in checkpoints, which then load nowhere else.

    Raises:
        UserError: what ``_target_`` names is not there, or takes other keys.
    """
    _check_inner_keys(node)
    try:
        # Partial first: arguments given to Hydra's own call are turned into configuration, dataclasses into dicts.
        build = hydra_instantiate(node, _convert_="all", _partial_=True)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):  # from a node within this one
            raise error.__cause__ from None
        what, reason = str(node.get("_target_")), str(error).splitlines()[0]
        if located := _LOCATED.match(reason):  # the first cause says more
            what, cause = located[1], _first_cause(error)
            reason = str(cause).splitlines()[0]
        msg = f"_target_={what} cannot be built: {reason}"
        raise UserError(msg) from error
    keys = {str(key) for key in node if not str(key).startswith("_")}
    try:
        inspect.signature(build.func).bind(**dict.fromkeys(keys | arguments.keys()))
    except TypeError as error:
        msg = f"{node._target_} does not take these keys: {error}."
        raise UserError(msg) from error
    return build(**arguments)


def _first_cause(error: BaseException) -> BaseException:
    """Return what the exception at the bottom of a chain was."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _check_inner_keys(node: DictConfig) -> None:
    """Refuse keys that the objects of inner nodes do not take; Hydra would not say which ones.

    Raises:
        UserError: names the key, and the nearest that there are.
    """
    for key in node:
        inner = None if OmegaConf.is_missing(node, key) else node[key]
        if not isinstance(inner, DictConfig):
            continue
        _check_inner_keys(inner)
        try:
            parameters = inspect.signature(_locate(inner["_target_"])).parameters if "_target_" in inner else {}
        except (ImportError, AttributeError, ValueError):  # no such thing, about which Hydra says enough
            continue
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        unknown = [str(name) for name in inner if not str(name).startswith("_") and name not in parameters]
        if parameters and unknown and not takes_any:
            place = inner._get_full_key(None)  # noqa: SLF001 -- there is no public way to ask
            msg = f"{place}.{unknown[0]} does not exist. {did_you_mean(unknown[0], parameters)}"
            raise UserError(msg)


def prepare(cfg: DictConfig) -> tuple[ImageDataModule, ImageClassifier]:
    """Build data module and classifier of a configuration, for a look at them or a Lightning trainer of one's own.

    Args:
        cfg: From `dogbreed.compose`; ``auto`` values allowed.

    Returns:
        Both, prepared for each other; the data set is fetched and scanned.

    Raises:
        UserError: the configuration, the data or the weights are not fit for it.
    """
    return build(resolve(cfg)[0])


def build(cfg: DictConfig) -> tuple[ImageDataModule, ImageClassifier]:
    """Build data module and classifier of a resolved configuration.

    Returns:
        Both, prepared for each other; the data set is fetched and scanned.

    Raises:
        UserError: as their constructors.
    """
    if cfg.seed is not None:
        L.seed_everything(cfg.seed, workers=True, verbose=False)
    seed = cfg.seed if cfg.seed is not None else from_main(lambda: torch.seed() % 2**63)
    data: ImageDataModule = instantiate(
        cfg.data, augment=instantiate(cfg.augment), seed=seed, rank=world().rank, num_ranks=num_ranks(cfg)
    )
    if cfg.model.weights is not None:  # before any long work: they may not be to be had
        check_weights(Path(cfg.model.weights))
    elif cfg.model.pretrained:
        fetch_pretrained(cfg.model.architecture)
    data.setup("fit")
    for sentence in (*data.index.report.notes, *data.index.report.warnings()):
        log.warning("data    %s", sentence)
    _compare_data(data)
    if "valid" not in data.index.splits:
        msg = "No validation pictures: every class needs at least two training pictures, of which one is held out."
        raise UserError(msg)
    classifier: ImageClassifier = instantiate(
        cfg.model,
        class_names=list(data.class_names),
        class_counts=data.index.class_counts("train"),
        optim=instantiate(cfg.optim),
        finetune=instantiate(cfg.finetune),
        loss=instantiate(cfg.loss),
    )
    data.preprocessing = classifier.preprocessing
    counts = " / ".join(f"{count} {split}" for split, count in data.index.counts().items())
    log.info("data    %d classes, %s pictures, %d px", len(data.class_names), counts, data.preprocessing.input_size_px)
    num_parameters = count_parameters(classifier.net)
    beginning = cfg.model.weights or ("pretrained" if cfg.model.pretrained else "random")
    log.info("model   %s, %.1f M parameters, weights: %s", cfg.model.architecture, num_parameters / 1e6, beginning)
    log.info("recipe  %s: %s", classifier.finetune.mode, classifier.finetune.describe())
    return data, classifier


def _compare_data(data: ImageDataModule) -> None:
    """Refuse data that differ between machines: ranks share one order of the pictures.

    Raises:
        UserError: names what differs.
    """
    found = from_all((data.index.counts(), data.class_names))
    for rank, theirs in enumerate(found):
        if theirs != found[0]:
            msg = f"Rank {rank} finds other pictures ({theirs[0]}) than rank 0 ({found[0][0]}): copy the data anew."
            raise UserError(msg)


def build_trainer(
    cfg: DictConfig, folder: RunFolder, callbacks: Sequence[Callback], instead: Mapping[str, Any]
) -> L.Trainer:
    """Build the Lightning trainer of a resolved configuration.

    Args:
        cfg: The configuration.
        folder: Where loggers and callbacks write.
        callbacks: Those of every run.
        instead: Values in the place of some of ``trainer``'s, as of `trainer_in_passes`.

    Raises:
        UserError: Lightning refuses a value.
    """
    loggers = [_build_logger(node, folder) for node in (cfg.logger or {}).values()]
    more = [instantiate(node) for node in (cfg.callbacks or {}).values()]
    more += instantiate(cfg.diagnose, folder=folder.path)
    if cfg.get("trial"):
        more += instantiate(cfg.trial)
    if cfg.ema:
        more.append(instantiate(cfg.ema))
    if cfg.early_stopping:
        more.append(instantiate(cfg.early_stopping, monitor=objectives(cfg)[0], mode=cfg.objective_mode))
    cluster, strategy = [], cfg.trainer.strategy
    if num_ranks(cfg) > 1:
        # Where we stand is in torchrun's variables. Buffers stay each rank's own within an epoch: copying them in
        # every forward pass would also wait for ranks that have no more pictures to validate.
        cluster, strategy = [TorchElasticEnvironment()], DDPStrategy(broadcast_buffers=False)
        more.append(OwnRandomness())
    try:
        trainer: L.Trainer = instantiate(
            cfg.trainer,
            default_root_dir=str(folder.path),
            logger=loggers or False,
            callbacks=[*callbacks, *more],  # Lightning puts checkpoints last
            plugins=[WholeCheckpointIO(), *cluster],
            use_distributed_sampler=False,
            strategy=strategy,
            **instead,
        )
    except (MisconfigurationException, ValueError) as error:
        msg = f"Lightning refuses the trainer.* keys: {str(error).splitlines()[0]}"
        raise UserError(msg) from error
    # It asks the device in every step of several ranks whether SIGTERM has come; fit/stop.py knows.
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]  # noqa: SLF001
    return trainer


def _build_logger(node: DictConfig, folder: RunFolder) -> Any:
    """Build a logger that writes into the run folder, unless it is told another place or needs none."""
    takes_place = "save_dir" in inspect.signature(get_object(node._target_)).parameters
    return instantiate(node, **({"save_dir": str(folder.path)} if takes_place and "save_dir" not in node else {}))
