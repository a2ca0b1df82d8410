"""Cut the splits that a data set does not bring along: stratified, deterministic, without twins apart."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

from dogbreed.data.candidates import Candidate
from dogbreed.errors import UserError


@dataclass(frozen=True)
class SplitRule:
    """How to cut splits that a data set does not bring along.

    Args:
        valid_fraction: Share of every class for validation, 0 < f < 1.
        test_fraction: Share of every class for the test, 0 <= f < 1; used only
            where the data set has no splits at all.
        seed: Another seed, another cut.
        everything_in: Put all pictures of a data set without splits into this one.

    Raises:
        UserError: the fractions leave nothing to train on.
    """

    valid_fraction: float = 0.15
    test_fraction: float = 0.15
    seed: int = 0
    everything_in: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.valid_fraction < 1 or not 0 <= self.test_fraction < 1 - self.valid_fraction:
            msg = (
                f"data.valid_fraction={self.valid_fraction} and data.test_fraction={self.test_fraction} "
                "must be between 0 and 1 and leave something to train on."
            )
            raise UserError(msg)


def assign_splits(items: list[Candidate], twins: dict[str, str], rule: SplitRule) -> tuple[str, ...]:
    """Give every item a split, in place.

    Args:
        items: Candidates; ``split`` is set where the data set says it.
        twins: Path to the first path with the same content.
        rule: Fractions and seed of the cut.

    Returns:
        What was decided, in sentences for the user.

    Raises:
        UserError: some items have a split and others have none.
    """
    given = {item.split for item in items if item.split}
    unassigned = [item for item in items if item.split is None]
    if unassigned and given:
        msg = f"{unassigned[0].path} has no split although other pictures do: give every picture one, or none."
        raise UserError(msg)
    if unassigned and rule.everything_in:
        for item in unassigned:
            item.split = rule.everything_in
        return ()
    if unassigned:
        _cut(unassigned, twins, {"valid": rule.valid_fraction, "test": rule.test_fraction}, rule.seed)
        kept = 1 - rule.valid_fraction - rule.test_fraction
        return (
            f"split {kept:.0%} train, {rule.valid_fraction:.0%} valid, {rule.test_fraction:.0%} test "
            f"of every class (data.split_seed={rule.seed})",
        )
    if "train" in given and "valid" not in given:
        train = [item for item in items if item.split == "train"]
        _cut(train, twins, {"valid": rule.valid_fraction}, rule.seed)
        return (f"no valid split: cut {rule.valid_fraction:.0%} of every class from train",)
    return ()


def _cut(items: list[Candidate], twins: dict[str, str], fractions: dict[str, float], seed: int) -> None:
    """Cut splits from each class by a hash of the path, so that new files move no old ones far.

    Identical files share their first twin's hash, so that they stay together.
    """
    by_class: dict[str, list[Candidate]] = defaultdict(list)
    for item in items:
        by_class[item.label].append(item)
    for members in by_class.values():
        keys = {item.path: twins.get(item.path, item.path) for item in members}
        groups = sorted(set(keys.values()), key=lambda key: _hash(f"{seed}/{key}"))
        split_of: dict[str, str] = {}
        start = 0
        for split, fraction in fractions.items():
            # At least one picture of each class in every split, as long as one stays for training.
            count = min(max(1, round(fraction * len(groups))) if fraction else 0, max(0, len(groups) - start - 1))
            split_of.update(dict.fromkeys(groups[start : start + count], split))
            start += count
        for item in members:
            item.split = split_of.get(keys[item.path], "train")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
