"""Launches for tests: composing takes longer than all that is done with the result, so it is done once."""

import copy
from datetime import datetime
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from dogbreed import compose
from launch.facts import Facts
from launch.settings import LaunchSettings

NOW, TOKEN = datetime(2026, 11, 22, 13, 5, 9), "9f3a77"
ROLE = "arn:aws:iam::123456789012:role/Trainer"


@cache
def _composed(overrides):
    return compose(list(overrides))


def edited(*overrides, base=("launch=a10g",)):
    """Compose once, then set values as Hydra would."""
    cfg = copy.deepcopy(_composed(tuple(base)))
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        OmegaConf.update(cfg, override.key_or_group, override.value(), force_add=True)
    return cfg


def facts_of(cfg, **more):
    """Return facts as an account would give them."""
    settings = LaunchSettings.of(cfg)
    given = {
        "region": "eu-central-1",
        "bucket": settings.bucket or "sagemaker-eu-central-1-123456789012",
        "role_arn": ROLE,
        "image": "763104351884.dkr.ecr.eu-central-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker",
        "rule_image": "482524230118.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-debugger-rules:latest",
        "now": NOW,
        "token": TOKEN,
        "version": "0.1.0",
    }
    return Facts(**{**given, **more})
