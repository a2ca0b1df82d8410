"""Put a trained model behind an address: ``python -m launch.deploy model=runs/NAME name=dogs target=cpu``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dogbreed.command import run_hydra_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from launch.hosting.deployment import Outcome
    from launch.hosting.plan import DeployPlan


def main() -> None:
    """Run the command line."""
    from launch.hosting.settings import take_model

    run_hydra_command("deploy", deploy, rewrite=take_model)


def deploy(cfg: DictConfig) -> None:
    """Make or update one endpoint, as Hydra's task function.

    Args:
        cfg: Composed from ``conf/deploy.yaml``.

    Raises:
        UserError: it could not be made; then nothing that is paid for is left.
    """
    from launch.follow import say
    from launch.hosting.archive import build_archive
    from launch.hosting.gather import facts_here, facts_of_account
    from launch.hosting.plan import make_deploy_plan
    from launch.hosting.preview import preview
    from launch.hosting.settings import DeploySettings
    from launch.hosting.source import find_model

    settings = DeploySettings.of(cfg)
    model_folder = find_model(settings.model, settings.launch.region, say)
    archive = build_archive(model_folder)
    if settings.launch.dry_run:
        sys.stdout.write(f"{preview(make_deploy_plan(settings, facts_here(settings, archive)), archive)}\n")
        return
    from launch.aws.endpoints import Endpoints
    from launch.aws.session import connect
    from launch.hosting.deployment import Deployment
    from launch.hosting.sending import send_archive

    aws = connect(settings.launch)
    plan = make_deploy_plan(settings, facts_of_account(aws, settings, archive, say))
    deployment = Deployment(Endpoints(aws), plan, model_folder, say)
    # Before anything travels: what would be refused moves no byte.
    existing = deployment.look()
    say(f"{settings.name}: {plan.cost.describe()}")
    for note in plan.notes:
        say(note)
    send_archive(aws, plan.facts.bucket, settings.launch, archive, say)
    outcome = deployment.run(existing)
    sys.stdout.write(_summary(plan, outcome))


def _summary(plan: DeployPlan, outcome: Outcome) -> str:
    name = plan.settings.name
    lines = [("endpoint", f"{name}, {outcome.status}")]
    if outcome.test:
        lines.append(("test", outcome.test.describe()))
    lines.append(("cost", plan.cost.describe()))
    if outcome.test:
        lines.append(("1,000 requests", plan.cost.describe_requests(outcome.test.answer_s)))
    if plan.settings.launch.wait:
        lines.append(("ask", f"python -m launch.endpoints invoke {name} photo.jpg"))
    else:
        lines.append(("go on", "the same command, without launch.wait=false, waits for it and tests it"))
    lines.append(("remove", f"python -m launch.endpoints delete {name}"))
    width = max(len(label) for label, _ in lines)
    return "".join(f"{label:<{width}}  {text}\n" for label, text in lines)


if __name__ == "__main__":
    main()
