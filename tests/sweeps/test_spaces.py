"""The search spaces under conf/sweep: each can be read, and both ends of it are recipes that resolve."""

import pytest
from omegaconf import OmegaConf

from dogbreed import compose, conf_dir
from dogbreed.config import group_options, resolve
from dogbreed.sweeps.space import Choice, Real, Whole, grid, override_text, parse_space

NAMES = group_options()["sweep"]
NEEDED = {"head": ["data=folder", "data.root=/photos"], "full": ["data=folder", "data.root=/photos"]}


def space_of(name):
    sweeper = OmegaConf.load(conf_dir() / "sweep" / f"{name}.yaml").hydra.sweeper
    return parse_space(OmegaConf.to_container(sweeper.params)), sweeper


@pytest.mark.parametrize("name", NAMES)
def test_both_ends_of_a_space_resolve(name):
    space, _ = space_of(name)
    for end in (0, -1):
        values = {
            key: one.values[end] if isinstance(one, Choice) else (one.low, one.high)[end] for key, one in space.items()
        }
        overrides = [override_text(key, value) for key, value in values.items()]
        cfg, _ = resolve(compose([f"sweep={name}", *NEEDED.get(name, []), *overrides]), is_trial=True)
        assert cfg.test_after_fit is False
        for key, value in values.items():
            found = OmegaConf.select(cfg, key)
            assert found == value or key in group_options(), key


@pytest.mark.parametrize("name", NAMES)
def test_a_space_holds_the_defaults(name):
    space, _ = space_of(name)
    cfg = compose([f"sweep={name}", *NEEDED.get(name, [])])
    for key, one in space.items():
        value = OmegaConf.select(cfg, key)
        if isinstance(one, Real) and isinstance(value, float):
            assert one.low <= value <= one.high, key


def test_what_the_systems_before_went_through():
    dogs, _ = space_of("resnet50_dogs")
    assert dogs == {"optim.lr": Real(0.001, 0.1, "log"), "data.batch_size": Choice((16, 64, 256, 1024))} | {
        "trainer.max_epochs": Whole(5, 10)
    }
    cells, sweeper = space_of("resnet50_grid")
    assert (sweeper.engine, sweeper.n_trials, len(list(grid(cells)))) == ("grid", None, 8)
    adamw, sweeper = space_of("resnet18_adamw")
    assert (sweeper.n_trials, sweeper.n_jobs) == (20, 2)
    assert adamw["optim.eps"] == Real(1e-9, 1e-7, "log")
