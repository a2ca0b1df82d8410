"""Look after endpoints: ``python -m launch.endpoints list|invoke|delete|leftovers``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dogbreed.command import run_command
from dogbreed.errors import UserError, did_you_mean
from launch.asking import agrees
from launch.settings import LaunchSettings

if TYPE_CHECKING:
    from launch.aws.endpoints import Endpoints
    from launch.hosting.protocols import EndpointState

EPILOG = """\
examples:
  python -m launch.endpoints list                      what there is, since when, what it costs
  python -m launch.endpoints invoke dogs photo.jpg     as python -m dogbreed.predict answers
  python -m launch.endpoints delete dogs               endpoint, autoscaling, configurations, models
  python -m launch.endpoints leftovers --remove        models, configurations and archives that serve nobody
"""


def main() -> None:
    """Run the command line."""
    run_command(lambda: manage(sys.argv[1:]))


def manage(argv: Sequence[str]) -> int:
    """Do what one of the subcommands says.

    Args:
        argv: Command line without the program's name.

    Returns:
        0, or 2 when a picture could not be classified; the others are answered all the same.

    Raises:
        UserError: there is no such endpoint, it is not ours, or AWS refuses.
    """
    args = _parse(argv)
    from launch.aws.endpoints import Endpoints
    from launch.aws.session import connect

    service = Endpoints(connect(LaunchSettings(region=args.region)))
    actions = {"list": _list, "invoke": _invoke, "delete": _delete, "leftovers": _leftovers}
    return actions[args.action](service, args)


def _list(service: Endpoints, args: argparse.Namespace) -> int:
    from launch.gather import known_prices
    from launch.hosting.tables import list_endpoints

    prices = known_prices(LaunchSettings(prices=args.prices))
    sys.stdout.write(f"{list_endpoints(service, prices, is_everybodys=args.all)}\n")
    return 0


def _invoke(service: Endpoints, args: argparse.Namespace) -> int:
    from dogbreed.predict import list_pictures, print_answer
    from launch.hosting.asking import Asker

    files = list(list_pictures(args.pictures))
    if not files:
        msg = f"No files in {', '.join(args.pictures)}."
        raise UserError(msg)
    asker = Asker(service, _found(service, args.name), top_k=args.top_k)
    answers: list[dict[str, Any]] = []
    for file in files:
        answers.append({"file": str(file), **asker.ask(file)})
        if not args.json:
            print_answer(answers[-1])
    if args.json:
        json.dump(answers, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    return 2 if any("error" in answer for answer in answers) else 0


def _delete(service: Endpoints, args: argparse.Namespace) -> int:
    from launch.hosting.removal import belongings, models_of, remove_endpoint
    from launch.hosting.taken import is_ours

    state = service.find(args.name)
    if state is None and not belongings(service, args.name):
        _found(service, args.name)
    if state is not None and not is_ours(state.tags) and not args.force:
        msg = (
            f"{args.name} in {service.region} was not made by dogbreed (it lacks our tag): it is left alone; --force "
            "removes it all the same, with its configuration and models."
        )
        raise UserError(msg)
    if not args.yes and sys.stdin.isatty() and not agrees(f"Remove {args.name} and all that belongs to it?"):
        sys.stdout.write(f"{args.name} stays.\n")
        return 0
    # Of somebody else's, what it names; of ours it bears the tag.
    named = [("configuration", state.config_name)] if state is not None and args.force else []
    named += [("model", name) for _, config in list(named) for name in models_of(service, config)]
    removed = remove_endpoint(service, args.name, args.poll_s)
    removed += [f"{kind} {name}" for kind, name in named if service.delete(kind, name)]
    for words in removed:
        sys.stdout.write(f"removed {words}\n")
    return 0


def _leftovers(service: Endpoints, args: argparse.Namespace) -> int:
    from launch.aws.bucket import find_bucket
    from launch.aws.storage import S3Store
    from launch.hosting.leftovers import find_leftovers, remove_leftovers
    from launch.hosting.tables import list_leftovers

    if not 0 <= args.min_age < math.inf:
        msg = f"--min-age {args.min_age:g} must be a number of minutes, 0 or more."
        raise UserError(msg)
    settings = LaunchSettings(region=args.region, bucket=args.bucket, prefix=args.prefix)
    store = S3Store(service.aws, find_bucket(service.aws, settings))
    found = find_leftovers(service, store, args.prefix)
    sys.stdout.write(f"{list_leftovers(found, service.region)}\n")
    if not args.remove or not found:
        return 0
    over = [item for item in found if not item.may_be_at_work(timedelta(minutes=args.min_age))]
    if len(over) < len(found):
        sys.stdout.write(
            f"{len(found) - len(over)} of them are younger than {args.min_age:g} minutes and stay: somebody may be "
            "deploying. --min-age 0 removes them, too.\n"
        )
    if not over or (not args.yes and sys.stdin.isatty() and not agrees(f"Remove {len(over)}?")):
        return 0
    sys.stdout.write(f"removed {remove_leftovers(service, store, over, args.poll_s)}\n")
    return 0


def _found(service: Endpoints, name: str) -> EndpointState:
    """Return an endpoint.

    Raises:
        UserError: there is none of this name.
    """
    state = service.find(name)
    if state is None:
        others = [found.name for found in service.list_all("endpoint")]
        hint = did_you_mean(name, others) or "python -m launch.endpoints list shows those there are."
        msg = f"There is no endpoint {name} in {service.region}. {hint}"
        raise UserError(msg)
    return state


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--region", help="AWS region (default: that of the AWS configuration)")
    common.add_argument("--poll-s", type=float, default=5.0, metavar="S", help="seconds between looks (default: 5)")
    sure = argparse.ArgumentParser(add_help=False)
    sure.add_argument("--yes", action="store_true", help="do not ask")

    parser = argparse.ArgumentParser(
        prog="python -m launch.endpoints",
        description="Look after endpoints on SageMaker, from any machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|invoke|delete|leftovers")
    listing = actions.add_parser("list", parents=[common], help="endpoints with state, age and cost")
    listing.add_argument("--all", action="store_true", help="those that are not ours, too")
    listing.add_argument("--prices", metavar="FILE", help="a table of prices, as launch.prices")
    invoke = actions.add_parser("invoke", parents=[common], help="classify pictures")
    invoke.add_argument("name", metavar="NAME", help="of the endpoint")
    invoke.add_argument("pictures", nargs="+", metavar="PICTURE_OR_FOLDER", help="folders are searched to the bottom")
    invoke.add_argument("--top-k", type=int, default=5, metavar="K", help="classes per picture (default: 5)")
    invoke.add_argument("--json", action="store_true", help="print one JSON array")
    delete = actions.add_parser("delete", parents=[common, sure], help="remove an endpoint and what belongs to it")
    delete.add_argument("name", metavar="NAME", help="of the endpoint")
    delete.add_argument("--force", action="store_true", help="even if dogbreed has not made it")
    left = actions.add_parser("leftovers", parents=[common, sure], help="what bears our tag and serves nobody")
    left.add_argument("--remove", action="store_true", help="remove it")
    left.add_argument(
        "--min-age", type=float, default=60.0, metavar="MIN", help="younger than this it stays (default: 60 minutes)"
    )
    left.add_argument("--bucket", metavar="NAME", help="of the archives (default: SageMaker's own)")
    left.add_argument("--prefix", default="dogbreed", metavar="TEXT", help="they lie below it (default: dogbreed)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
