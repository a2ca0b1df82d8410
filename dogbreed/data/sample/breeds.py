"""What tells the cartoon breeds apart: build, ears, snout, tail, coat. Colours are shared on purpose.

Lengths are in units of half a body length.
"""

from __future__ import annotations

from dataclasses import dataclass

COLORS = {
    "black": (38, 36, 40),
    "chocolate": (92, 58, 36),
    "red": (158, 84, 44),
    "tan": (196, 150, 96),
    "cream": (232, 212, 172),
    "white": (240, 238, 232),
    "grey": (136, 138, 142),
}


@dataclass(frozen=True)
class Breed:
    """The attributes of one cartoon breed.

    Args:
        name: Class name and folder name.
        colors: Possible coat colours, names in `COLORS`.
        pattern: ``solid``, ``spots``, ``stripes``, ``saddle``, ``halves``, ``belly`` or ``patches``.
        ears: ``pointed``, ``bat``, ``floppy``, ``long``, ``folded`` or ``hidden``.
        tail: ``straight``, ``curled``, ``bushy``, ``thin``, ``pompon`` or ``stub``.
        body_height: Thickness of the trunk.
        leg_length: From trunk to ground.
        snout_length: From the head's rim to the nose.
        head_size: Radius of the head.
        neck_length: From trunk to head.
        face_mask: The face is of another colour than the head.
        fur: ``smooth``, ``curly`` (pompons) or ``shaggy`` (ragged outline).
    """

    name: str
    colors: tuple[str, ...]
    pattern: str
    ears: str
    tail: str
    body_height: float
    leg_length: float
    snout_length: float
    head_size: float
    neck_length: float
    face_mask: bool = False
    fur: str = "smooth"


BREEDS = (
    Breed("beagle", ("tan", "red", "white"), "saddle", "long", "straight", 0.62, 0.62, 0.34, 0.36, 0.34),
    Breed("boxer", ("tan", "red", "cream", "grey"), "stripes", "folded", "stub", 0.72, 0.85, 0.16, 0.40, 0.42, True),
    Breed("chihuahua", ("tan", "cream", "black", "white"), "solid", "bat", "thin", 0.40, 0.62, 0.14, 0.50, 0.30),
    Breed("corgi", ("red", "tan", "black", "grey"), "belly", "pointed", "stub", 0.74, 0.28, 0.36, 0.40, 0.40),
    Breed("dachshund", ("red", "black", "chocolate", "cream"), "solid", "long", "thin", 0.42, 0.18, 0.52, 0.28, 0.26),
    Breed("dalmatian", ("white", "cream", "grey"), "spots", "folded", "thin", 0.60, 0.88, 0.36, 0.34, 0.46),
    Breed("greyhound", ("grey", "cream", "black", "tan"), "solid", "folded", "thin", 0.44, 1.02, 0.56, 0.25, 0.60),
    Breed("husky", ("grey", "black", "red", "cream"), "belly", "pointed", "curled", 0.66, 0.66, 0.34, 0.38, 0.40, True),
    Breed(
        "poodle",
        ("white", "black", "cream", "grey"),
        "solid",
        "hidden",
        "pompon",
        0.52,
        0.84,
        0.46,
        0.30,
        0.50,
        False,
        "curly",
    ),
    Breed("pug", ("cream", "tan", "grey"), "solid", "folded", "curled", 0.80, 0.40, 0.06, 0.46, 0.24, True),
    Breed(
        "sheepdog",
        ("grey", "black", "white", "chocolate"),
        "halves",
        "hidden",
        "stub",
        0.84,
        0.52,
        0.24,
        0.46,
        0.30,
        False,
        "shaggy",
    ),
    Breed(
        "shepherd", ("tan", "red", "cream", "grey"), "saddle", "pointed", "bushy", 0.60, 0.74, 0.46, 0.34, 0.44, True
    ),
)
