"""from_sweep=: the winner's overrides enter before one's own, and the run says where its values come from."""

import json

import pytest
from helpers import QUICK

from dogbreed import UserError, compose, fit_run
from dogbreed.config.hashing import config_hash
from dogbreed.files import write_json
from dogbreed.sweeps.winner import retraining_overrides, winner_overrides, with_winner


def sweep_of(*overrides, best=1, params=(), **more):
    trials = [
        {"number": number, "state": "completed", "values": [0.5 + number / 10], "overrides": list(overrides)}
        | {"params": dict(params), "run_folder": str(number), "seconds": 1.0, "issues": []}
        for number in range(2)
    ]
    return {"objective": ["val/acc_top1"], "objective_mode": "max", "modes": ["max"], "trials": trials} | {
        "best": best,
        "params": {key: "interval(1, 9)" for key, _ in params},
        **more,
    }


def test_what_is_no_recipe_is_left_out():
    machinery = ["trial.number=3", "hydra.sweep.subdir=3", "hydra/launcher=sagemaker", "launch=a10g", "resume=never"]
    machinery += ["launch.spot=true", "launch/debugger=none", "from_sweep=x", "checkpoint_dir=y", "+trial.more=1"]
    assert winner_overrides(sweep_of("model=resnet18", *machinery, "optim.lr=0.1")) == [
        "model=resnet18",
        "optim.lr=0.1",
    ]


def test_typed_overrides_win_and_the_rest_is_what_a_winner_gets(capsys):
    sweep = sweep_of("model=resnet18", "optim.lr=0.1", "trainer.max_epochs=3", "report=false")
    found = retraining_overrides(sweep, "S", ["from_sweep=S", "optim.lr=0.2", "diagnose=none"])
    assert found[:-1] == ["model=resnet18", "report=true", "test_after_fit=true", "trainer.max_epochs=6"]
    assert "trainer.max_epochs=6" in capsys.readouterr().out
    cfg = compose([*found, "from_sweep=S", "optim.lr=0.2", "diagnose=none"])
    assert cfg.origin == {"sweep": "S", "trial": 1, "objective": "val/acc_top1", "value": 0.6} | {
        "overrides": ["model=resnet18", "trainer.max_epochs=3", "report=false"]
    }
    assert (cfg.optim.lr, cfg.report, cfg.trainer.max_epochs) == (0.2, True, 6)


def test_epochs_that_were_searched_or_typed_stay():
    searched = sweep_of("trainer.max_epochs=7", params=[("trainer.max_epochs", 7)])
    assert "trainer.max_epochs=7" in retraining_overrides(searched, "S", [])
    typed = retraining_overrides(sweep_of("trainer.max_epochs=7"), "S", ["trainer.max_epochs=2"])
    assert not [text for text in typed if text.startswith("trainer.max_epochs")]
    assert "trainer.max_epochs=24" in retraining_overrides(sweep_of("seed=1"), "S", [])  # twice the default


def test_odd_values_come_through(tmp_path):
    odd = [r"model.weights='a b,c=\'${d}'", 'data.root="~/my photos (2026)"', "data.class_names=[x,y]"]
    found = retraining_overrides(sweep_of(*odd), "/my $weep {1}", ["seed=1"])
    cfg = compose(found)
    assert cfg.origin.sweep == "/my $weep {1}"
    assert list(cfg.origin.overrides) == odd


def test_where_values_come_from_does_not_make_another_run():
    plain = compose(["optim.lr=0.1"])
    assert config_hash(compose(["optim.lr=0.1", "from_sweep=x", "origin={sweep:x}"])) == config_hash(plain)


def test_the_command_line_stays_in_one_piece(tmp_path):
    write_json(tmp_path / "sweep.json", sweep_of("seed=5"))
    arguments = ["--cfg", "job", f"from_sweep={tmp_path}", "seed=6"]
    found = with_winner(arguments)
    assert found[:2] == arguments[:2]
    assert found[-2:] == arguments[-2:]
    assert "test_after_fit=true" in found
    assert with_winner(["seed=1"]) == ["seed=1"]
    assert with_winner(["from_sweep=null"]) == ["from_sweep=null"]


@pytest.mark.parametrize(
    ("record", "arguments", "match"),
    [
        (None, [], "holds no sweep.json: name the folder of a sweep"),
        ("{", [], "holds a sweep.json that cannot be read"),
        ({"trials": []}, [], "None of the 0 trials of .* has finished"),
        (sweep_of("seed=1", best=None), [], "None of the 2 trials of .* has finished"),
        (sweep_of("seed=1"), ["-m"], "trains the one winner: leave -m out"),
        (sweep_of("optim.lrr=1"), [], "optim.lrr does not exist. Did you mean optim.lr "),
    ],
)
def test_what_cannot_be_trained(record, arguments, match, tmp_path):
    if isinstance(record, str):
        (tmp_path / "sweep.json").write_text(record)
    elif record is not None:
        write_json(tmp_path / "sweep.json", record)
    with pytest.raises(UserError, match=match):
        with_winner([*arguments, f"from_sweep={tmp_path}"])


def test_it_is_for_the_command_line(tree, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        with_winner([f"from_sweep={tmp_path}/nowhere"])
    cfg = compose([*QUICK, "data=folder", f"data.root='{tree}'", "from_sweep=x"])
    with pytest.raises(UserError, match="is for the command line, python -m dogbreed.train from_sweep=x"):
        fit_run(cfg, tmp_path / "run")


def test_a_sweep_and_then_its_winner(tree, tmp_path, cli):
    more = ("data=folder", f"data.root={tree}", "hydra.sweep.dir=my sweep", "diagnose=none")
    answer = cli("train", "-m", *QUICK, *more, "optim.lr=1e-6,1e-2")
    assert answer.code == 0, answer.err
    sweep = json.loads((tmp_path / "my sweep" / "sweep.json").read_text())
    answer = cli("train", "from_sweep=my sweep", "report=false", "seed=3", "hydra.run.dir=winner")
    assert answer.code == 0, answer.err
    best = sweep["trials"][sweep["best"]]
    assert f"winner  trial {best['number']} of {tmp_path}/my sweep, val/acc_top1 " in answer.out
    run = json.loads((tmp_path / "winner" / "run.json").read_text())
    assert run["origin"]["trial"] == best["number"]
    assert run["origin"]["value"] == best["values"][0]
    assert run["origin"]["sweep"] == str(tmp_path / "my sweep")
    metrics = json.loads((tmp_path / "winner" / "metrics.json").read_text())
    assert "test/acc_top1" in metrics
    assert (tmp_path / "winner" / "metrics.csv").read_text().count("\n") == 1 + 4  # twice the trials' two epochs
    assert (tmp_path / "winner" / "diagnosis.json").is_file()
    config = (tmp_path / "winner" / "config.yaml").read_text()
    assert f"lr: {best['params']['optim.lr']}" in config
    assert "seed: 3" in config
