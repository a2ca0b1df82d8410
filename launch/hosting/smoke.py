"""Ask an endpoint about the model folder's example, whose answer is known."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError
from dogbreed.model_description import EXAMPLE_JPG, EXAMPLE_JSON, EXAMPLE_TOLERANCE

if TYPE_CHECKING:
    from launch.aws.runtime import Reply

# Of these, the middle one is how long an answer takes; the very first may find a cold machine.
NUM_TIMED = 3


@dataclass(frozen=True)
class SmokeTest:
    """An endpoint that has answered as it must.

    Args:
        label: Of the example.
        probability: Of it, 0..1.
        difference: Largest difference between a probability and the one expected.
        answer_s: Seconds of an answer, the network's among them.
    """

    label: str
    probability: float
    difference: float
    answer_s: float

    def describe(self) -> str:
        """Say it in one line."""
        return (
            f"example.jpg: {self.label} {self.probability:.1%}, as expected within {EXAMPLE_TOLERANCE:g} "
            f"(largest difference {self.difference:.1e}); {self.answer_s * 1000:.0f} ms an answer"
        )


def can_test(model_folder: Path) -> bool:
    """Say whether a model folder has an example and its answer."""
    return (model_folder / EXAMPLE_JPG).is_file() and (model_folder / EXAMPLE_JSON).is_file()


def smoke_test(ask: Callable[[bytes], Reply], model_folder: Path, num_timed: int = NUM_TIMED) -> SmokeTest:
    """Ask about the example and compare.

    Args:
        ask: Sends a JPEG and returns the answer.
        model_folder: With the example.
        num_timed: Asked so many times more, for how long it takes; 0 for the first alone.

    Raises:
        UserError: it refuses, or answers otherwise than the model did when it was saved.
    """
    picture = (model_folder / EXAMPLE_JPG).read_bytes()
    expected = json.loads((model_folder / EXAMPLE_JSON).read_text(encoding="utf-8"))
    first = ask(picture)
    answer = read_answer(first.body)
    difference = difference_of(answer, expected)
    if not difference <= EXAMPLE_TOLERANCE:
        top = expected["top"][0]
        msg = (
            f"The endpoint answers {answer['label']} {answer['probability']:.4f} for example.jpg, and the model folder "
            f"{top['label']} {top['probability']:.4f} (largest difference {difference:.3g}, at most "
            f"{EXAMPLE_TOLERANCE:g} is right): check that image and model fit."
        )
        raise UserError(msg)
    seconds = [ask(picture).seconds for _ in range(num_timed)] or [first.seconds]
    return SmokeTest(answer["label"], answer["probability"], difference, statistics.median(seconds))


def read_answer(body: bytes) -> dict[str, Any]:
    """Return an answer about one picture.

    Raises:
        UserError: it is none.
    """
    try:
        answer = json.loads(body)
        numbers = [item["probability"] for item in answer["top"]]
        is_one = isinstance(answer["label"], str) and all(isinstance(number, float | int) for number in numbers)
    except (ValueError, KeyError, TypeError):
        is_one = False
    if not is_one:
        said = body[:200].decode(errors="replace")
        msg = f"The endpoint answers {said!r}, which is no answer of dogbreed's: check its image."
        raise UserError(msg)
    return dict(answer)


def difference_of(answer: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """Return the largest difference of a probability; a class that is missing has at most that of the last."""
    now = {item["label"]: item["probability"] for item in answer["top"]}
    then = {item["label"]: item["probability"] for item in expected["top"]}
    # The least of the top may change places with the next where they are nearly equal.
    floor = min(now.values(), default=0.0)
    differences: list[float] = [
        abs(now[label] - value) if label in now else max(0.0, value - floor) for label, value in then.items()
    ]
    return max(differences)
