"""Metrics equal scikit-learn's, whatever the batches; temperature equals a direct search."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)

from dogbreed.nets.calibration import expected_calibration_error, fit_temperature
from dogbreed.nets.metrics import ClassificationMetrics, precision_per_class, recall_per_class


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
    for ours, theirs in ((precision_per_class, precision_score), (recall_per_class, recall_score)):
        expected = theirs(labels, predicted, labels=names, average=None, zero_division=np.nan)
        assert np.allclose(ours(metrics.confusion_KK).numpy(), expected, atol=1e-6, equal_nan=True)
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


@given(count=st.integers(1, 200), num_classes=st.integers(2, 8), num_bins=st.integers(1, 20), seed=st.integers(0, 1000))
def test_calibration_error_is_that_of_the_definition(count, num_classes, num_bins, seed):
    generator = torch.Generator().manual_seed(seed)
    # Coarse logits: many confidences are equal, some of them edges of bins (1/2, 1).
    logits = torch.randint(0, 3, (count, num_classes), generator=generator).double() * 20
    labels = torch.randint(0, num_classes, (count,), generator=generator)
    probabilities = logits.softmax(1)
    expected = 0.0
    confidence, predicted = probabilities.max(1)
    for m in range(num_bins):
        inside = [i for i in range(count) if m / num_bins < float(confidence[i]) <= (m + 1) / num_bins]
        if inside:
            accuracy = np.mean([float(predicted[i] == labels[i]) for i in inside])
            mean_confidence = np.mean([float(confidence[i]) for i in inside])
            expected += len(inside) / count * abs(accuracy - mean_confidence)
    assert expected_calibration_error(probabilities, labels, num_bins) == pytest.approx(expected, abs=1e-9)


def test_calibration_error_of_nothing_of_the_sure_and_of_the_surely_wrong():
    assert math.isnan(expected_calibration_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))
    assert expected_calibration_error(torch.eye(3), torch.arange(3)) == 0.0
    assert expected_calibration_error(torch.eye(3), torch.arange(3).roll(1)) == 1.0


def test_temperature_mends_the_calibration_error():
    generator = torch.Generator().manual_seed(1)
    calibrated = torch.randn(4000, 6, generator=generator) * 2
    labels = torch.multinomial(calibrated.softmax(1), 1, generator=generator).squeeze(1)
    logits = calibrated * 4
    after = expected_calibration_error((logits / fit_temperature(logits, labels)).softmax(1), labels)
    assert after < 0.03 < 0.1 < expected_calibration_error(logits.softmax(1), labels)
