"""`finetune=head` from features that are computed once: the same run, without its backbone."""

import json
import threading

import pytest
import timm
import torch
from helpers import compose_quick, rows_of
from lightning.pytorch.callbacks import Callback

from dogbreed import UserError, fit_run, load_model
from dogbreed.config import resolve
from dogbreed.data.cache import filling
from dogbreed.fit import features
from dogbreed.fit import run as running
from dogbreed.fit.callbacks import build_callbacks
from dogbreed.nets.features import has_separate_head, logits_and_features, logits_of_features


def head_run(tree, weights, run_dir, *more):
    words = (f"model.weights='{weights}'", "finetune=head", *more)
    return fit_run(compose_quick(tree, *words), run_dir)


@pytest.fixture
def computed(monkeypatch):
    """How many pictures go through the backbone for features from now on."""
    counts = []

    def count(net, images):
        counts.append(len(images))
        return logits_and_features(net, images)

    monkeypatch.setattr(features, "logits_and_features", count)
    return counts


@pytest.mark.parametrize(
    ("found", "mode", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "head", "bf16-mixed"),
        ({"avx512_bf16": True, "amx_bf16": False}, "full", "32-true"),
        ({"avx512_bf16": True, "amx_bf16": True}, "full", "bf16-mixed"),
        ({"avx512_bf16": False, "amx_bf16": False}, "head", "32-true"),
    ],
)
def test_sixteen_bits_are_for_what_they_make_quicker(tree, weights, monkeypatch, found, mode, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    words = ("trainer.accelerator=cpu", "trainer.precision=auto", f"model.weights='{weights}'", f"finetune={mode}")
    assert resolve(compose_quick(tree, *words))[0].trainer.precision == precision


def test_features_are_made_in_sixteen_bits_and_the_head_trains_in_thirty_two(tree, weights, tmp_path, monkeypatch):
    seen = []

    class Listener(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append((trainer.precision, batch.images))

    cfg = compose_quick(tree, f"model.weights='{weights}'", "finetune=head", "trainer.precision=bf16-mixed")
    monkeypatch.setattr(running, "build_callbacks", lambda *more: [*build_callbacks(*more), Listener()])
    fit_run(cfg, tmp_path)
    assert {precision for precision, _ in seen} == {"32-true"}
    assert all(rows.dtype == torch.float32 for _, rows in seen)
    assert all(torch.equal(rows, rows.bfloat16().float()) for _, rows in seen)


@pytest.mark.parametrize("cache", [pytest.param("none", marks=pytest.mark.slow), "auto"])
def test_as_many_views_as_epochs_are_the_ordinary_way(tree, weights, tmp_path, cache):
    words = (f"data.cache={cache}", "trainer.precision=32-true")
    ordinary = head_run(tree, weights, tmp_path / "ordinary", "data.num_views=0", *words)
    ours = head_run(tree, weights, tmp_path / "ours", "data.num_views=2", *words)
    for theirs, row in zip(*(rows_of(run.run_dir / "metrics.csv") for run in (ordinary, ours)), strict=True):
        for key in theirs:
            if key.startswith(("train/", "val/")):
                assert float(row[key]) == pytest.approx(float(theirs[key]), abs=1e-5), key
    for theirs, row in zip(*(rows_of(run.run_dir / "predictions.csv") for run in (ordinary, ours)), strict=True):
        assert float(row.pop("probability")) == pytest.approx(float(theirs.pop("probability")), abs=1e-5)
        assert row == theirs
    familiarity = [(run.model_dir / "familiarity.safetensors").stat().st_size for run in (ordinary, ours)]
    assert familiarity[0] == familiarity[1]


def test_what_another_process_computes_is_left_to_it(tree, weights, tmp_path, monkeypatch):
    names, order, computed, taken = {}, [], threading.Event(), threading.Event()
    name_of, compute = features.FeatureExtractor._name, features.FeatureExtractor._compute

    def note_name(self, split, view):
        names[split, view] = name_of(self, split, view)
        return names[split, view]

    def note_order(self, split, view, positions):
        order.append((split, view))
        rows = compute(self, split, view, positions)
        if (split, view) == ("train", 2):
            computed.set()
        return rows

    monkeypatch.setattr(features.FeatureExtractor, "_name", note_name)
    monkeypatch.setattr(features.FeatureExtractor, "_compute", note_order)
    views = "data.num_views=3"
    alone = head_run(tree, weights, tmp_path / "alone", views, f"data.cache={tmp_path / 'other_cache'}")
    assert order[:4] == [("train", 0), ("train", 1), ("train", 2), ("valid", None)]
    order.clear()
    computed.clear()

    def other():
        with filling(tmp_path / "cache" / names["train", 1]):
            taken.set()
            computed.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    taken.wait(60)
    beside = head_run(tree, weights, tmp_path / "beside", views, f"data.cache={tmp_path / 'cache'}")
    thread.join()
    assert order[:4] == [("train", 0), ("train", 2), ("train", 1), ("valid", None)]
    assert beside.metrics["train/loss"] == alone.metrics["train/loss"]
    assert beside.metrics["test/loss"] == alone.metrics["test/loss"]


def test_a_later_run_computes_nothing_anew(tree, weights, tmp_path, computed):
    words = ("data.num_views=2", f"data.cache={tmp_path / 'cache'}")
    first = head_run(tree, weights, tmp_path / "first", *words)
    assert sum(computed) == 2 * 24 + 9 + 24 + 12  # two views, valid, references, test
    computed.clear()
    again = head_run(tree, weights, tmp_path / "again", *words)
    assert not computed
    assert first.metrics["test/loss"] == again.metrics["test/loss"]
    head_run(tree, weights, tmp_path / "other", *words, "optim.lr=1e-2", "model.dropout=0.2")
    assert not computed


def test_what_is_measured_is_what_is_deployed(tree, weights, tmp_path):
    """Training in bfloat16 with a float32 outcome: `evaluate` says the same of the model folder."""
    run = head_run(tree, weights, tmp_path / "run", "data.num_views=1", "trainer.precision=bf16-mixed")
    rows = [row for row in rows_of(run.run_dir / "predictions.csv") if row["split"] == "test"]
    answers = load_model(run.model_dir).predict([tree / row["file"] for row in rows])
    assert [answer.labels[0] for answer in answers] == [row["predicted"] for row in rows]
    for answer, row in zip(answers, rows, strict=True):
        assert answer.probabilities[0] == pytest.approx(float(row["probability"]), abs=1e-5)


def test_other_weights_have_other_features(tree, weights, tmp_path, computed):
    words = ("data.num_views=1", f"data.cache={tmp_path / 'cache'}")
    head_run(tree, weights, tmp_path / "first", *words)
    computed.clear()
    other = tmp_path / "other.pth"
    torch.manual_seed(8)
    torch.save(timm.create_model("test_resnet").state_dict(), other)
    head_run(tree, other, tmp_path / "other", *words)
    assert sum(computed) == 24 + 9 + 24 + 12


def test_without_a_cache_nothing_is_kept(tree, weights, tmp_path, computed):
    for name in ("first", "again"):
        computed.clear()
        head_run(tree, weights, tmp_path / name, "data.num_views=1", "data.cache=none")
        assert sum(computed) == 24 + 9 + 9 + 24 + 12  # valid twice: while it trains and at the end


def test_a_cap_holds_for_features_too(tree, weights, tmp_path, computed, caplog):
    settings = (f"data.cache={tmp_path / 'cache'}", "data.cache_max_gb=1e-6")
    first = head_run(tree, weights, tmp_path / "first", "data.num_views=1", *settings)
    assert "holds all that it may: features of train, view 1 of 1 are not kept" in caplog.text
    assert not list((tmp_path / "cache").glob("*/features.npz"))
    computed.clear()
    again = head_run(tree, weights, tmp_path / "again", "data.num_views=1", *settings)
    assert sum(computed) == 24 + 9 + 9 + 24 + 12
    assert first.metrics["test/loss"] == again.metrics["test/loss"]


def test_damaged_features_are_computed_again(tree, weights, tmp_path, computed):
    words = ("data.num_views=1", f"data.cache={tmp_path / 'cache'}")
    first = head_run(tree, weights, tmp_path / "first", *words)
    for file in (tmp_path / "cache").glob("*/features.npz"):
        file.write_bytes(file.read_bytes()[:500])
    computed.clear()
    again = head_run(tree, weights, tmp_path / "again", *words)
    assert sum(computed) == 24 + 9 + 24 + 12
    assert first.metrics["test/loss"] == again.metrics["test/loss"]


def test_the_plan_is_told(tree, weights, tmp_path, caplog):
    caplog.set_level("INFO")
    run = head_run(tree, weights, tmp_path / "run")
    assert "data.num_views=2" in caplog.text  # two epochs, two views
    assert json.loads((run.run_dir / "metrics.json").read_text())["val/acc_top1"] >= 0


@pytest.mark.parametrize("epochs", ["null", "-1"])
def test_runs_without_a_number_of_epochs(tree, weights, tmp_path, epochs):
    with pytest.raises(UserError, match=r"trainer\.max_epochs=.* trains nothing"):
        head_run(tree, weights, tmp_path / "run", f"trainer.max_epochs={epochs}")


def test_fewer_views_than_none(tree, weights, tmp_path):
    with pytest.raises(UserError, match=r"data\.num_views=-1 must be at least 0"):
        head_run(tree, weights, tmp_path / "run", "data.num_views=-1")


def test_a_relative_cache_is_the_same_from_everywhere(tree, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = head_run(tree, weights, tmp_path / "run", "data.cache=kept")
    assert f"cache: {tmp_path / 'kept'}\n" in (run.model_dir / "training_config.yaml").read_text()


@pytest.mark.parametrize("more", [["augment.mix.probability=0.5", "augment.mix.mixup_alpha=0.2"], ["finetune=full"]])
def test_views_are_for_a_frozen_backbone(tree, weights, tmp_path, more):
    with pytest.raises(UserError, match=r"data\.num_views=2 keeps what a frozen backbone makes of unmixed pictures"):
        head_run(tree, weights, tmp_path / "run", "data.num_views=2", *more)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("test_resnet", True), ("mobilenetv3_small_050", True), ("test_vit", True), ("levit_128s", False)],
)
def test_which_heads_stand_alone(architecture, expected):
    net = timm.create_model(architecture, num_classes=3).train()
    size_px = net.pretrained_cfg["input_size"][-1]
    assert has_separate_head(net, size_px) == expected
    assert net.training


def test_dropout_is_for_training_only():
    net = timm.create_model("test_resnet", num_classes=3, drop_rate=0.5).eval()
    features_BD = torch.rand(4, net.num_features)
    assert torch.equal(logits_of_features(net, features_BD), net.fc(features_BD))
    net.train()
    assert not torch.equal(logits_of_features(net, features_BD), net.fc(features_BD))
