"""The LightningModule learns, keeps still what must keep still, and comes back from its checkpoint."""

import lightning as L
import pytest
import torch
from helpers import COLORS, make_tree, rows_of
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from dogbreed import ImageClassifier, ImageDataModule, Preprocessing, UserError

NAMES = tuple(COLORS)


def classifier(**options):
    options = {"pretrained": False, "input_size_px": 32, "finetune": "full", **options}
    return ImageClassifier("test_resnet", NAMES, **options)


def trainer(epochs=1, **options):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, **quiet, **options)


def colours(tree, model, **options):
    return ImageDataModule(tree, preprocessing=model.preprocessing, batch_size=8, **options)


def test_eight_pictures_are_learnt_by_heart(tmp_path):
    make_tree(tmp_path, {"train": 3, "valid": 1})
    L.seed_everything(0, verbose=False)
    model = classifier(optim={"lr": 3e-3})
    data = ImageDataModule(tmp_path, preprocessing=model.preprocessing, batch_size=8)
    fit = trainer(epochs=25)
    fit.fit(model, data)
    assert fit.callback_metrics["train/acc_top1"] == 1.0
    assert fit.callback_metrics["train/loss"] < 0.2


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.net.state_dict().items()}


def changed(before, model):
    return {name for name, tensor in model.net.state_dict().items() if not torch.equal(before[name], tensor)}


@pytest.mark.parametrize("mode", ["head", "full", "head_then_full", "layer_decay", "discriminative"])
def test_what_moves_in_each_mode(tree, mode):
    model = classifier(finetune={"mode": mode, "batchnorm": "frozen"}, dropout=0.5)
    before = snapshot(model)
    trainer(epochs=2).fit(model, colours(tree, model))
    moved = changed(before, model)
    if mode == "head":
        assert moved == {"fc.weight", "fc.bias"}
    else:
        assert {name for name, _ in model.net.named_parameters()} == moved


def test_statistics_follow_the_data_only_when_they_may(tree):
    frozen = classifier(finetune={"mode": "full", "batchnorm": "frozen"})
    before = snapshot(frozen)
    trainer().fit(frozen, colours(tree, frozen))
    assert not any("running" in name or "num_batches" in name for name in changed(before, frozen))
    free = classifier(finetune={"mode": "full", "batchnorm": "train"})
    before = snapshot(free)
    trainer().fit(free, colours(tree, free))
    assert any("running" in name for name in changed(before, free))


def test_the_head_phase_ends_in_time(tree):
    model = classifier(finetune={"mode": "head_then_full", "head_epochs": 2, "batchnorm": "train"})
    seen = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            statistics = any(m.training for m in module.net.modules() if isinstance(m, torch.nn.BatchNorm2d))
            seen.append((trainer.current_epoch, module.net.conv1[0].weight.requires_grad, statistics))

    trainer(epochs=4, callbacks=[Watch()]).fit(model, colours(tree, model))
    assert set(seen) == {(0, False, False), (1, False, False), (2, True, True), (3, True, True)}


def test_logged_metrics_equal_a_recount(tree):
    model = classifier()
    data = colours(tree, model)
    fit = trainer()
    fit.fit(model, data)
    model.eval()
    hits, losses = [], []
    with torch.inference_mode():
        for batch in data.val_dataloader():
            logits = model(batch.images)
            hits += (logits.argmax(1) == batch.labels).tolist()
            losses += torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none").tolist()
    assert len(hits) == 9  # an uneven last batch of 1
    assert fit.callback_metrics["val/acc_top1"] == pytest.approx(sum(hits) / 9)
    assert fit.callback_metrics["val/loss"] == pytest.approx(sum(losses) / 9, abs=1e-5)
    results = trainer().test(model, data, verbose=False)[0]
    assert set(results) == {"test/loss", "test/acc_top1", "test/acc_top5", "test/f1_macro"}
    outputs = trainer().predict(model, data.val_dataloader())
    assert torch.cat(outputs).shape == (9, 3)


def test_a_checkpoint_loads_without_unpickling_code_or_a_hub(tree, tmp_path, monkeypatch):
    model = classifier(finetune="head", optim={"lr": 0.02, "betas": [0.8, 0.9]}, dropout=0.1)
    fit = trainer()
    fit.fit(model, colours(tree, model))
    fit.save_checkpoint(tmp_path / "x.ckpt")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    assert again.class_names == NAMES
    assert (again.optim, again.finetune, again.preprocessing) == (model.optim, model.finetune, model.preprocessing)
    assert not changed(snapshot(model), again)
    assert isinstance(torch.load(tmp_path / "x.ckpt", weights_only=True)["hyper_parameters"]["optim"], dict)


def test_from_scratch_everything_trains_at_full_rate():
    assert classifier(finetune="full").finetune.batchnorm == "train"
    assert classifier(finetune="full").finetune.backbone_lr_scale == 1.0


def test_data_prepared_for_other_weights_is_refused(tree):
    model = classifier()
    with pytest.raises(UserError, match=r"preprocessing=model\.preprocessing"):
        trainer().fit(model, ImageDataModule(tree, preprocessing=Preprocessing(48, 54), batch_size=8))


def test_any_loader_of_images_and_labels_will_do():
    model = classifier()
    loader = DataLoader(TensorDataset(torch.randn(8, 3, 32, 32), torch.arange(8) % 3), batch_size=4)
    fit = trainer()
    fit.fit(model, loader, loader)
    assert "val/acc_top1" in fit.callback_metrics


def test_raw_pixels_are_normalised_and_floats_taken_as_they_are():
    model = classifier().eval()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(model(pixels), model(model.preprocessing.normalize(pixels)))


def test_wrong_arguments():
    with pytest.raises(UserError, match="at least two classes"):
        ImageClassifier("test_resnet", ["one"], pretrained=False)
    with pytest.raises(UserError, match="Did you mean"):
        ImageClassifier("resnet5O", NAMES, pretrained=False)
    with pytest.raises(UserError, match=r"finetune.mode=heads"):
        classifier(finetune="heads")


def test_given_numbers_change_and_the_others_follow_the_weights():
    plain = ImageClassifier("resnet18", ["a", "b"], pretrained=False, input_size_px=64).preprocessing
    given = ImageClassifier(
        "resnet18", ["a", "b"], pretrained=False, input_size_px=64, preprocessing={"mean": [0.5, 0.5, 0.5]}
    ).preprocessing
    assert given.to_dict() == {**plain.to_dict(), "mean": [0.5, 0.5, 0.5]}


def test_the_head_phase_is_as_long_as_asked_when_steps_are_limited(tree):
    data = ImageDataModule(tree, preprocessing=Preprocessing.of("test_resnet", 32), batch_size=8)
    model = ImageClassifier(
        "test_resnet", data.class_names, pretrained=False, input_size_px=32, finetune={"mode": "head_then_full"},
        optim={"lr": 0.1, "warmup_fraction": 0.2},
    )  # fmt: skip
    rates = []

    class Rates(L.Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append(next(g["lr"] for g in trainer.optimizers[0].param_groups if g["name"] == "backbone"))

    trainer = L.Trainer(max_epochs=12, max_steps=13, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, callbacks=[Rates()])  # fmt: skip
    trainer.fit(model, data)
    # 3 batches an epoch: the backbone rests for one epoch, then warms up over a fifth of what is left.
    assert rates[:3] == [0, 0, 0]
    assert 0 < rates[3] < rates[4] < rates[5] == max(rates)


def test_loggers_get_the_loss_of_every_so_many_steps(tree, tmp_path):
    model = classifier()
    logger = CSVLogger(tmp_path)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    fit = L.Trainer(accelerator="cpu", max_epochs=3, log_every_n_steps=2, logger=logger, **quiet)
    losses = []

    class Listener(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            losses.append(float(outputs["loss"]))

    fit.callbacks.append(Listener())
    fit.fit(model, colours(tree, model))
    logger.save()
    rows = [row for row in rows_of(next(tmp_path.rglob("metrics.csv"))) if row["train/loss_step"]]
    assert len(losses) == 9
    assert [int(row["step"]) for row in rows] == [1, 3, 5, 7]
    assert [float(row["train/loss_step"]) for row in rows] == pytest.approx(losses[1::2][:4])
