"""Classify what lies in S3: ``python -m launch.transform model=runs/NAME input=s3://… output=s3://…``."""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dogbreed.command import run_hydra_command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command line."""
    from launch.hosting.settings import take_model

    run_hydra_command("transform", transform, rewrite=take_model)


def transform(cfg: DictConfig) -> None:
    """Run one batch transform job, as Hydra's task function.

    Args:
        cfg: Composed from ``conf/transform.yaml``.

    Raises:
        UserError: it could not be started, or has failed.
        KeyboardInterrupt: Ctrl-C while following; its text says how to go on.
    """
    from launch.follow import say
    from launch.hosting.archive import build_archive
    from launch.hosting.gather import facts_here, facts_of_account
    from launch.hosting.plan import make_transform_plan
    from launch.hosting.preview import preview
    from launch.hosting.settings import TransformSettings
    from launch.hosting.source import find_model

    settings = TransformSettings.of(cfg)
    archive = build_archive(find_model(settings.model, settings.launch.region, say))
    now, token = datetime.now(UTC), secrets.token_hex(2)
    if settings.launch.dry_run:
        plan = make_transform_plan(settings, facts_here(settings, archive), now, token)
        sys.stdout.write(f"{preview(plan, archive)}\n")
        return
    from launch.aws.session import connect
    from launch.hosting.sending import send_archive
    from launch.hosting.transforming import Transforming

    aws = connect(settings.launch)
    plan = make_transform_plan(settings, facts_of_account(aws, settings, archive, say), now, token)
    transforming = Transforming(aws, plan, say)
    num_pictures = transforming.count_pictures()
    say(f"{plan.name}: {num_pictures} pictures; {plan.cost.describe()}")
    for note in plan.notes:
        say(note)
    send_archive(aws, plan.facts.bucket, settings.launch, archive, say)
    transforming.start()
    if not settings.launch.wait:
        sys.stdout.write(
            f"job      {plan.name}\nfollow   python -m launch.jobs logs -f {plan.name}\n"
            "clean up python -m launch.endpoints leftovers --remove, when it is over: its model\n"
        )
        return
    sys.stdout.write(transforming.finish())


if __name__ == "__main__":
    main()
