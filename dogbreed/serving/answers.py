"""Answers, and how they are written: JSON or CSV, as the client accepts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dogbreed.loaded_model import Prediction
from dogbreed.serving.errors import RequestError
from dogbreed.serving.pictures import Crop

JSON, CSV = "application/json", "text/csv"
CSV_COLUMNS = ("picture", "rank", "label", "probability", "familiarity", "unlike_training_data")
_MAX_RANGES = 32


@dataclass(frozen=True)
class Explanation:
    """Where the network looked.

    Args:
        label: The class that the map is of.
        grid: Rows from the top, 0..1, the largest value 1.
        crop: Which part of the upright picture the grid covers.
    """

    label: str
    grid: tuple[tuple[float, ...], ...]
    crop: Crop

    def to_dict(self) -> dict[str, Any]:
        """Return ``label``, ``grid`` and ``crop`` as JSON has them."""
        # Five digits, as shares of a picture: enough for any screen.
        crop = {name: round(value, 5) for name, value in vars(self.crop).items()}
        return {"label": self.label, "grid": [[round(value, 4) for value in row] for row in self.grid], "crop": crop}


@dataclass(frozen=True)
class Answer:
    """What is said of one picture.

    Args:
        prediction: Classes, probabilities and familiarity.
        explanation: None where it was not asked for, or the network has no map.
        is_explained: It was asked for.
    """

    prediction: Prediction
    explanation: Explanation | None = None
    is_explained: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return what `Prediction.to_dict` does, and ``explanation`` if it was asked for, perhaps None."""
        answer = self.prediction.to_dict()
        if self.is_explained:
            answer["explanation"] = self.explanation.to_dict() if self.explanation else None
        return answer

    def cut(self, top_k: int, *, explain: bool) -> Answer:
        """Return what a client has asked for of an answer that was made for several in one batch.

        Args:
            top_k: Classes, at most as many as there are.
            explain: Keep the explanation, which was then asked for in the batch.
        """
        made = self.prediction
        labels, probabilities = made.labels[:top_k], made.probabilities[:top_k]
        prediction = replace(made, labels=labels, probabilities=probabilities)
        return Answer(prediction, self.explanation if explain else None, is_explained=explain)


def write_answers(
    answers: Sequence[Answer | RequestError],
    accept: str,
    is_single: bool,  # noqa: FBT001 -- as the contract has it
) -> tuple[bytes, str]:
    """Write answers in the form that the client accepts.

    Args:
        answers: In order; an error stands for a picture that could not be read.
        accept: Of the header; empty for none.
        is_single: The client sent one picture as such.

    Returns:
        A body and its content type.

    Raises:
        RequestError: 406; or the only picture's own error, if it was sent as such.
    """
    content_type = choose_type(accept)
    if is_single and isinstance(answers[0], RequestError):
        raise answers[0]
    if content_type == CSV:
        # A class may be named after a folder whose name is no Unicode.
        return _to_csv(answers).encode(errors="backslashreplace"), f"{CSV}; charset=utf-8"
    items = [{"error": item.sentence} if isinstance(item, RequestError) else item.to_dict() for item in answers]
    return _to_json(items[0] if is_single else {"predictions": items}), JSON


def write_error(error: RequestError) -> tuple[bytes, str]:
    """Return ``{"error": sentence}`` and its content type."""
    return _to_json({"error": error.sentence}), JSON


def choose_type(accept: str) -> str:
    """Choose between JSON and CSV by an ``Accept`` header (RFC 9110, section 12.5.1).

    Raises:
        RequestError: 406, neither is accepted.

    Example:
        >>> choose_type("text/csv, application/json;q=0.5")
        'text/csv'
    """
    if not accept.strip():
        return JSON
    qualities: dict[str, float] = {}
    for part in accept.split(",")[:_MAX_RANGES]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        qualities[name] = _quality(parameters)
    best = max((JSON, CSV), key=lambda kind: _accepted(kind, qualities))  # JSON where both are as welcome
    if _accepted(best, qualities) <= 0:
        raise RequestError(406, f"Accept must allow {JSON} or {CSV}.")
    return best


def _accepted(kind: str, qualities: dict[str, float]) -> float:
    """Return the quality of the most specific range that names a type."""
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*", "*")
    return next((qualities[name] for name in ranges if name in qualities), 0.0)


def _quality(parameters: Sequence[str]) -> float:
    text = next((item[2:] for item in parameters if item.startswith("q=")), "1")
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def _to_json(value: Any) -> bytes:
    # Class names are folders' names, which may be no Unicode: escapes hold them all.
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _to_csv(answers: Sequence[Answer | RequestError]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for picture, answer in enumerate(answers):
        if isinstance(answer, RequestError):
            writer.writerow([picture, 0, answer.sentence, "", "", ""])
            continue
        made = answer.prediction
        known = "" if made.familiarity is None else made.familiarity
        for rank, (label, probability) in enumerate(zip(made.labels, made.probabilities, strict=True), start=1):
            writer.writerow([picture, rank, label, probability, known, str(made.unlike_training_data).lower()])
    return buffer.getvalue()
