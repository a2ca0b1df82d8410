"""The training loss against the definitions that it follows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, log_softmax, one_hot

from dogbreed import UserError
from dogbreed.nets.loss import LossSettings, TrainingLoss, balanced_weights

LOGITS = torch.randn(16, 5, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.arange(16) % 5
PARTNERS = LABELS.roll(1)
SHARES = torch.linspace(0.5, 1.0, 16)


def test_plain_cross_entropy():
    assert torch.equal(TrainingLoss(LossSettings())(LOGITS, LABELS), cross_entropy(LOGITS, LABELS))


@given(smoothing=st.floats(0, 0.9))
def test_mixtures_and_smoothing_are_soft_targets(smoothing):
    targets = SHARES[:, None] * one_hot(LABELS, 5) + (1 - SHARES[:, None]) * one_hot(PARTNERS, 5)
    targets = (1 - smoothing) * targets + smoothing / 5
    expected = -(targets * log_softmax(LOGITS, 1)).sum(1).mean()
    loss = TrainingLoss(LossSettings(smoothing))(LOGITS, LABELS, PARTNERS, SHARES)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_balanced_classes_weigh_the_same_in_sum():
    counts = [1, 2, 5, 100]
    weights = balanced_weights(counts)
    sums = weights * torch.tensor(counts)
    assert torch.allclose(sums, sums[:1].expand(4))
    assert sums.sum().item() == pytest.approx(sum(counts))
    loss = TrainingLoss(LossSettings(class_weights="balanced"), counts)
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(counts))
    logits = torch.randn(108, 4, generator=torch.Generator().manual_seed(1))
    per_class = torch.stack([cross_entropy(logits[labels == k], labels[labels == k]) for k in range(4)])
    assert loss(logits, labels).item() == pytest.approx(per_class.mean().item(), rel=1e-5)


@pytest.mark.parametrize("wrong", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"class_weights": "inverse"}])
def test_values_out_of_range_name_their_key(wrong):
    with pytest.raises(UserError, match=f"loss.{next(iter(wrong))}="):
        LossSettings(**wrong)


@pytest.mark.parametrize("counts", [None, [3, 0, 2]])
def test_balanced_weights_need_pictures_of_every_class(counts):
    with pytest.raises(UserError, match="balanced needs a training picture of every class"):
        TrainingLoss(LossSettings(class_weights="balanced"), counts)
