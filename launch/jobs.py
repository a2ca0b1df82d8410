"""Look after shipped jobs: ``python -m launch.jobs list|show|logs|stop|fetch``, at any time, from any machine.

A job's state lives in AWS and in its run folder, not in the process that has started it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dogbreed.command import run_command
from launch.asking import agrees
from launch.job_lookup import Job, Lookup
from launch.record import FILE_NAME, now

EPILOG = """\
A job is named by its name or its run folder; without either, it is the newest below --runs. A tuning job is one, too:
show prints the ranking of its jobs, logs tells which began and ended, fetch brings home the run folders of all.

examples:
  python -m launch.jobs list                     the newest jobs: what they do, for how long, at what cost at most
  python -m launch.jobs logs -f                  go on following the newest where we stopped
  python -m launch.jobs logs NAME                its whole log so far
  python -m launch.jobs stop runs/FOLDER         end it; what it has come to can be fetched
  python -m launch.jobs fetch NAME --into DIR    bring home checkpoints, metrics, report and model folder
"""


def main() -> None:
    """Run the command line."""
    run_command(lambda: manage(sys.argv[1:]))


def manage(argv: Sequence[str]) -> None:
    """Do what one of the subcommands says.

    Args:
        argv: Command line without the program's name.

    Raises:
        UserError: there is no such job, AWS refuses, or a job that was followed has failed.
        KeyboardInterrupt: Ctrl-C while following; the job goes on.
    """
    args = _parse(argv)
    lookup = Lookup(args.region, args.runs.expanduser())
    if args.action == "list":
        from launch.job_tables import list_jobs

        sys.stdout.write(f"{list_jobs(lookup, args.prefix, args.limit)}\n")
        return
    {"show": _show, "logs": _logs, "stop": _stop, "fetch": _fetch}[args.action](lookup.find(args.job), args)


def _show(job: Job, _: argparse.Namespace) -> None:
    from launch.job_tables import describe_job

    sys.stdout.write(f"{describe_job(job)}\n")


def _logs(job: Job, args: argparse.Namespace) -> None:
    from launch.follow import check_outcome, follow, num_machines, print_lines

    if args.follow:
        check_outcome(follow(job.service, job.record, job.run_dir, poll_s=args.poll_s))
        return
    # Not the place up to which it was followed: all of it, and that place stays as it is.
    position = None
    is_empty = True
    with_host = num_machines(job.record.request) > 1
    while True:
        lines, reached = job.service.read_log(job.record.job_name, position)
        print_lines(lines, with_host=with_host)
        is_empty = is_empty and not lines
        if not lines and (position is None or reached == position):
            break
        position = reached
    if is_empty:
        sys.stderr.write(f"{job.record.job_name} has printed nothing yet.\n")


def _stop(job: Job, args: argparse.Namespace) -> None:
    name = job.record.job_name
    state = job.service.describe(name)
    if state.is_over:
        sys.stdout.write(f"{name} is over: {state.status}.\n")
        return
    if not args.yes and sys.stdin.isatty() and not agrees(f"Stop {name} ({state.phase})?"):
        sys.stdout.write(f"{name} goes on.\n")
        return
    job.service.stop(name)
    job.keep(job.service.describe(name))
    target = job.run_dir or name
    sys.stdout.write(
        f"{name} is being stopped; python -m launch.jobs fetch {target} brings home what there is of it.\n"
    )


def _fetch(job: Job, args: argparse.Namespace) -> None:
    from launch.follow import say
    from launch.homecoming import bring_home

    run_dir = args.into.expanduser() if args.into else job.run_dir or args.runs.expanduser() / job.record.job_name
    state = job.service.describe(job.record.job_name)
    record = job.record.seen(state)
    if state.is_over and record.fetched and run_dir == job.run_dir and not (args.again or args.all):
        sys.stdout.write(f"{run_dir} has all of it since {record.fetched}; --again fetches it anew.\n")
        return
    fetched = bring_home(job.aws, record, state, run_dir, say, is_everything=args.all, is_again=args.again)
    if run_dir == job.run_dir or not (run_dir / FILE_NAME).exists():
        replace(record, fetched=now() if state.is_over else None).write(run_dir)
    what = ", ".join(fetched.parts) or "nothing, for it has written nothing so far"
    sys.stdout.write(
        f"fetched {what}: {fetched.num_files} files, {fetched.num_bytes / 1e6:,.1f} MB\nrun     {run_dir}\n"
    )
    if not state.is_over:
        sys.stderr.write(f"{state.name} is not over ({state.phase}): fetch again later for the rest.\n")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("where")
    group.add_argument("--region", help="AWS region (default: the run folder's, or that of the AWS configuration)")
    group.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="run folders (default: runs)")
    one = argparse.ArgumentParser(add_help=False)
    one.add_argument("job", nargs="?", metavar="JOB", help="name or run folder (default: the newest below --runs)")

    parser = argparse.ArgumentParser(
        prog="python -m launch.jobs",
        description="Look after jobs on SageMaker, also after the machine that started them was switched off.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|logs|stop|fetch")
    listing = actions.add_parser("list", parents=[common], help="the newest jobs")
    listing.add_argument("--prefix", default="", metavar="TEXT", help="only jobs whose names begin so")
    listing.add_argument("--limit", type=_positive, default=20, metavar="N", help="at most so many (default: 20)")
    actions.add_parser("show", parents=[common, one], help="all about one job")
    logs = actions.add_parser("logs", parents=[common, one], help="what a job prints")
    logs.add_argument("-f", "--follow", action="store_true", help="go on where we stopped, until the job is over")
    logs.add_argument("--poll-s", type=_seconds, default=5.0, metavar="S", help="seconds between looks (default: 5)")
    stop = actions.add_parser("stop", parents=[common, one], help="end a job")
    stop.add_argument("--yes", action="store_true", help="do not ask")
    fetch = actions.add_parser("fetch", parents=[common, one], help="bring a job's run folder home")
    fetch.add_argument("--into", type=Path, metavar="DIR", help="another run folder than the job's own")
    fetch.add_argument("--again", action="store_true", help="fetch anew what was fetched already")
    fetch.add_argument("--all", action="store_true", help="of a tuning job, models and checkpoints of all its jobs")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        msg = f"{value} is not at least 1"
        raise argparse.ArgumentTypeError(msg)
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        msg = f"{value} is not above 0"
        raise argparse.ArgumentTypeError(msg)
    return value


if __name__ == "__main__":
    main()
