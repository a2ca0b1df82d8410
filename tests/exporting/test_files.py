"""Exported files answer as the model folder does, say how to use them, and say nothing about this machine."""

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers import save_picture

from dogbreed import UserError, load_model
from dogbreed.data.decode import decode_image
from dogbreed.exporting.formats import FORMATS, open_file, write_file
from dogbreed.exporting.verifying import DifferentError, expect, verify
from dogbreed.exporting.writing import export_model

FORMAT_NAMES = sorted(FORMATS)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_file_answers_as_predict_does(name, everything, finished_run, tree):
    files = sorted((tree / "test").rglob("*.jpg"))
    model = load_model(finished_run.model_dir)
    answer = open_file(FORMATS[name], everything.exported[name].file)
    views = torch.stack([model.preprocessing.center_crop(decode_image(file)) for file in files])
    outputs = answer(np.ascontiguousarray(views.permute(0, 2, 3, 1).numpy()))
    assert set(outputs) == {"probabilities", "familiarity"}
    for number, expected in enumerate(model.predict(files)):
        order = outputs["probabilities"][number].argsort()[::-1]
        assert tuple(model.class_names[place] for place in order) == expected.labels
        assert outputs["probabilities"][number][order] == pytest.approx(expected.probabilities, abs=1e-5)
        assert outputs["familiarity"][number] == pytest.approx(expected.familiarity, abs=0.101)  # one of nine pictures
    assert np.ptp(outputs["probabilities"], axis=0).min() > 0.05  # which pictures differ in


def test_each_was_verified_with_the_pictures_of_the_run(everything):
    for item in everything.exported.values():
        assert item.verification.num_pictures == 1 + 21 + 4  # the example, valid and test, noise
        assert 0 <= item.verification.largest_difference <= 1e-5


def test_an_onnx_file_says_how_to_use_it(everything, finished_run):
    file = everything.exported["onnx"].file
    session = onnxruntime.InferenceSession(file)
    (pixels,) = session.get_inputs()
    assert (pixels.name, pixels.type, pixels.shape) == ("pixels", "tensor(uint8)", ["batch", 32, 32, 3])
    assert [output.name for output in session.get_outputs()] == ["probabilities", "familiarity"]
    about = session.get_modelmeta().custom_metadata_map
    info = json.loads((finished_run.model_dir / "model.json").read_text())
    assert json.loads(about["class_names"]) == info["class_names"] == ["blue", "green", "red"]
    how = json.loads(about["preprocessing"])
    assert {
        key: info["preprocessing"][key] for key in ("input_size_px", "resize_px", "interpolation")
    }.items() <= how.items()
    assert about["weights_sha256"] == info["weights_sha256"]
    assert "resize" in about["description"]
    assert "RGB" in json.loads(about["input"])["pixels"]
    model = onnx.load(file)
    assert model.producer_name == "dogbreed"
    assert [item.version for item in model.opset_import if not item.domain] == [18]
    assert not [node.op_type for node in model.graph.node if node.op_type == "BatchNormalization"]


@pytest.mark.parametrize("name", ["torchscript", "pt2"])
def test_torchs_files_say_the_same(name, everything):
    extra = {"dogbreed.json": ""}
    if name == "pt2":
        torch.export.load(everything.exported[name].file, extra_files=extra)
    else:
        torch.jit.load(everything.exported[name].file, _extra_files=extra)
    about = json.loads(extra["dogbreed.json"])
    onnx_says = onnxruntime.InferenceSession(everything.exported["onnx"].file).get_modelmeta().custom_metadata_map
    assert about["class_names"] == json.loads(onnx_says["class_names"])
    assert about["preprocessing"] == json.loads(onnx_says["preprocessing"])


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_file_tells_nothing_of_this_machine(name, everything):
    file = everything.exported[name].file
    packed = [file.read_bytes()]
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            packed = [archive.read(entry) for entry in archive.namelist()]
    for place in (Path(torch.__file__).parent, Path(__file__).parents[2], everything.folder):
        assert not any(str(place).encode() in content for content in packed), place


def test_nothing_else_is_left_in_the_folder(everything):
    names = {path.name for path in everything.folder.iterdir()}
    charts = {"curves.png", "confusion.png"} & names
    assert names == {"model.onnx", "model.torchscript", "model.pt2", "README.md", *charts}


def test_a_file_that_answers_otherwise_is_not_written(finished_run, tmp_path, monkeypatch):
    def write_wrongly(net, file, about, opset):
        before, net.temperature = net.temperature, 1.01 * net.temperature
        FORMATS["torchscript"].write(net, file, about, opset)
        net.temperature = before

    wrong = replace(FORMATS["pt2"], write=write_wrongly, open=FORMATS["torchscript"].open)
    monkeypatch.setitem(FORMATS, "pt2", wrong)
    (tmp_path / "old.pt2").write_text("an older file")
    targets = {"torchscript": tmp_path / "right", "pt2": tmp_path / "old.pt2"}
    with pytest.raises(UserError, match=r"not written as pt2, .* \(probabilities differ .* up to 0\.\d+.*\): use"):
        export_model(finished_run.run_dir, targets)
    assert [path.name for path in tmp_path.iterdir()] == ["old.pt2"]  # neither the right one, nor anything unfinished
    assert (tmp_path / "old.pt2").read_text() == "an older file"


def test_a_network_that_a_format_cannot_hold_is_told(finished_run, tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, pixels):
            return {"probabilities": pixels.float()[: int(pixels.sum()) + 1]}

    about = {"architecture": "odd", "preprocessing": {"input_size_px": 8}}
    with pytest.raises(UserError, match=r"odd cannot be written as pt2 \(.+\): use onnx or torchscript\."):
        write_file(FORMATS["pt2"], Odd(), tmp_path / "x", about, 18)


def test_what_verifying_finds(finished_run):
    model = load_model(finished_run.model_dir)
    expected = expect(model, [])
    assert len(expected.views_u8_NCSS) == 4
    sizes = []

    def answer(pixels, shift=0.0, familiarity=None):
        sizes.append(len(pixels))
        views = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        found = [item.familiarity for item in model.answer(views)]
        known = np.array(found if familiarity is None else [familiarity] * len(found), np.float32)
        return {"probabilities": model.probabilities(views).numpy() + shift, "familiarity": known}

    assert verify(answer, expected).largest_difference < 1e-6
    assert sizes == [1, 3]
    for wrong, words in (
        (lambda pixels: answer(pixels, shift=2e-5), "differ .* up to 2e-05"),
        (lambda pixels: answer(pixels, shift=np.nan), "nan"),
        (lambda pixels: answer(pixels, familiarity=2.0), "familiarity"),
        (lambda pixels: {"probabilities": answer(pixels)["probabilities"][:, :2]}, "inf"),
        (lambda pixels: {"probabilities": answer(pixels)["probabilities"]}, "familiarity"),
    ):
        with pytest.raises(DifferentError, match=words):
            verify(wrong, expected)


def test_a_folder_that_cannot_tell_familiarity(finished_run, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "example.jpg"):
        (folder / name).write_bytes((finished_run.model_dir / name).read_bytes())
    info = json.loads((finished_run.model_dir / "model.json").read_text()) | {"familiarity": None}
    (folder / "model.json").write_text(json.dumps(info))
    (item,) = export_model(folder, {"torchscript": tmp_path / "model.torchscript"})
    assert item.verification.num_pictures == 1 + 4
    outputs = torch.jit.load(item.file)(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))
    assert list(outputs) == ["probabilities"]


def test_pictures_of_ones_own(finished_run, tmp_path):
    for number in range(40):
        save_picture(tmp_path / "in" / f"{number}.png", (10, 200, 30), number)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (item,) = export_model(finished_run.run_dir, {"torchscript": tmp_path / "a"}, pictures=tmp_path / "in")
    assert 1 + 15 + 4 <= item.verification.num_pictures <= 1 + 32 + 4


def test_what_a_killed_export_has_left_goes_with_the_next(finished_run, tmp_path):
    old, young, other = (tmp_path / name for name in (".a.12345678", ".a.abcdefgh", ".b.12345678"))
    for file in (old, young, other):
        file.write_text("half")
    for file in (old, other):
        os.utime(file, (0, 0))
    export_model(finished_run.run_dir, {"torchscript": tmp_path / "a"})
    assert {path.name for path in tmp_path.iterdir()} == {"a", young.name, other.name}
