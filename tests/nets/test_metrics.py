"""Metrics equal scikit-learn's, whatever the batches; temperature equals a direct search."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, top_k_accuracy_score

from dogbreed.nets.calibration import fit_temperature
from dogbreed.nets.metrics import ClassificationMetrics


@given(
    count=st.integers(1, 80),
    num_classes=st.integers(2, 12),
    batch=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_equal_to_scikit_learn_over_uneven_batches(count, num_classes, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, num_classes, generator=generator) * 2
    labels = torch.randint(0, num_classes, (count,), generator=generator)
    metrics = ClassificationMetrics(num_classes)
    for start in range(0, count, batch):
        part, truth = logits[start : start + batch], labels[start : start + batch]
        metrics.update(part, truth, torch.nn.functional.cross_entropy(part, truth))
    result = metrics.compute()
    predicted, names = logits.argmax(1).numpy(), np.arange(num_classes)
    assert result["acc_top1"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)
    assert result["f1_macro"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-6)
    assert result["loss"] == pytest.approx(log_loss(labels, logits.double().softmax(1), labels=names), abs=1e-4)
    assert (metrics.confusion_KK.numpy() == confusion_matrix(labels, predicted, labels=names)).all()
    if num_classes > 5:
        expected = top_k_accuracy_score(labels, logits.numpy(), k=5, labels=names)
        assert result["acc_top5"] == pytest.approx(expected, abs=1e-12)
    else:
        assert result["acc_top5"] == 1.0


def test_reset_and_nothing_counted():
    metrics = ClassificationMetrics(3)
    assert all(math.isnan(value) for value in metrics.compute().values())
    metrics.update(torch.eye(3), torch.arange(3), torch.tensor(0.5))
    assert metrics.compute()["acc_top1"] == 1.0
    metrics.reset()
    assert math.isnan(metrics.compute()["loss"])
    assert not metrics.state_dict()


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 3.0])
def test_temperature_is_found(true_temperature):
    generator = torch.Generator().manual_seed(0)
    calibrated = torch.randn(4000, 6, generator=generator) * 2
    labels = torch.multinomial(calibrated.softmax(1), 1, generator=generator).squeeze(1)
    logits = calibrated * true_temperature
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true_temperature, rel=0.08)

    def loss(temperature):
        return torch.nn.functional.cross_entropy(logits / temperature, labels)

    assert all(loss(found) <= loss(found * factor) for factor in (0.9, 0.99, 1.01, 1.1))


def test_temperature_of_perfect_and_of_no_pictures_is_finite():
    assert 0.05 <= fit_temperature(torch.eye(4) * 10, torch.arange(4)) < 0.5
    assert fit_temperature(torch.eye(4) * 10, torch.arange(4).roll(1)) == pytest.approx(20.0)
    assert fit_temperature(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)) == 1.0
