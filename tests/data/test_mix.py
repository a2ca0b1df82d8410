"""Mixtures are what the papers say, drawn for each picture, exact in every pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dogbreed import AugmentSettings, ImageDataModule, Preprocessing, UserError
from dogbreed.data.augment import view_generator
from dogbreed.data.mix import MixSettings, draw_mix, mix_batch

PIXELS = torch.randint(0, 256, (6, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
settings = st.builds(MixSettings, st.floats(0, 1), st.floats(0.1, 2), st.sampled_from([0.0, 1.0]))


def draws_of(settings, count=8000):
    return torch.from_numpy(np.stack([draw_mix(settings, view_generator(0, 0, i)) for i in range(count)]))


@given(settings=settings, seed=st.integers(0, 1000))
def test_a_picture_keeps_at_least_half(settings, seed):
    draws = torch.from_numpy(np.stack([draw_mix(settings, view_generator(seed, 0, i)) for i in range(6)]))
    mixed, shares = mix_batch(PIXELS, draws)
    assert mixed.dtype == torch.uint8
    assert mixed.shape == PIXELS.shape
    assert ((shares >= 0.44) & (shares <= 1)).all()  # a rectangle is whole pixels
    assert (draws[:, 0] >= 0.5).all()
    assert ((draws >= 0) & (draws <= 1)).all()


def test_mixup_is_a_weighted_mean_with_the_picture_before():
    draws = torch.tensor([[share, 0, 0, 0, 0] for share in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)])
    mixed, shares = mix_batch(PIXELS, draws)
    assert torch.allclose(shares, draws[:, 0])
    for b in range(6):
        expected = PIXELS[b].double() * float(draws[b, 0]) + PIXELS[b - 1].double() * (1 - float(draws[b, 0]))
        assert (mixed[b].double() - expected).abs().max() <= 0.5 + 1e-4
    assert torch.equal(mixed[5], PIXELS[5])


def test_cutmix_cuts_a_rectangle_and_its_share_is_counted():
    draws = torch.tensor([[1.0, 0.25, 0.75, 0.0, 0.5]]).repeat(6, 1)
    mixed, shares = mix_batch(PIXELS, draws)
    expected = PIXELS.clone()
    expected[:, :, 5:15, :10] = PIXELS.roll(1, 0)[:, :, 5:15, :10]
    assert torch.equal(mixed, expected)
    assert torch.allclose(shares, torch.tensor(0.75))


def test_shares_are_distributed_as_in_the_papers():
    """The larger of a Beta(a, a) share and its complement."""
    rng = np.random.default_rng(0)
    beta = rng.beta(0.4, 0.4, 100_000)
    mixup = draws_of(MixSettings(1.0, 0.4, 0.0))
    assert mixup[:, 0].mean() == pytest.approx(np.maximum(beta, 1 - beta).mean(), abs=0.01)
    assert not mixup[:, 1:].any()
    cutmix = draws_of(MixSettings(1.0, 0.0, 1.0))
    area = (cutmix[:, 2] - cutmix[:, 1]) * (cutmix[:, 4] - cutmix[:, 3])
    assert (cutmix[:, 0] == 1).all()
    assert area.mean() == pytest.approx(0.25, abs=0.01)  # uniform in 0..0.5
    both = draws_of(MixSettings(0.5, 0.4, 1.0))
    assert (both[:, 0] < 1).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (both[:, 2] > 0).float().mean() == pytest.approx(0.25, abs=0.03)


def test_the_data_module_mixes_training_batches_only(tree):
    augment = AugmentSettings(mix=MixSettings(1.0, 0.4, 1.0))
    data = ImageDataModule(tree, preprocessing=Preprocessing(32, 36), augment=augment, batch_size=8)
    drawn = next(iter(data.train_dataloader()))
    batch = data.on_after_batch_transfer(drawn, 0)
    assert torch.equal(batch.partners, batch.labels.roll(1))
    assert (batch.shares < 1).any()
    assert not torch.equal(batch.images, drawn.images)
    again = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert again.shares is None


@pytest.mark.parametrize("wrong", [{"probability": 1.5}, {"mixup_alpha": -1.0}, {"cutmix_alpha": float("nan")}])
def test_values_out_of_range_name_their_key(wrong):
    with pytest.raises(UserError, match=f"augment.mix.{next(iter(wrong))}="):
        MixSettings(**wrong)
