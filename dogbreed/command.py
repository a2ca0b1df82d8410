"""The wrapper of every command: the only place that turns errors into exit codes.

0 done · 2 one sentence on standard error · 1 a traceback (our bug) · 130 interrupted.
"""

from __future__ import annotations

import atexit
import gc
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dogbreed.distributed import is_echo, is_main
from dogbreed.errors import UserError, sentence_of
from dogbreed.processes import handling

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Set, to its number, in each process that a search has started here; their parent speaks for all.
SEARCH_WORKER = "DOGBREED_SEARCH_WORKER"

# Values of these keys are file names, which may hold what Hydra's grammar gives a meaning to.
_PATH_KEYS = re.compile(
    r"(?:\+{0,2})(?:[\w.]*\.)?(?:root|cache|manifest|weights|folder|run|source|data_root|checkpoint_dir|resume|from_sweep)"
)


class RefusedError(BaseException):
    """A user's error in a Hydra callback; Hydra turns anything derived from `Exception` there into a warning."""


def run_command(body: Callable[[], int | None]) -> NoReturn:
    """Run a command's body and leave the process with the right exit code.

    Args:
        body: Does the work; may return an exit code.
    """
    try:
        with handling(_interrupt, signal.SIGTERM):  # as Ctrl-C: both end with 130 and leave nothing half
            code = body() or 0
            sys.stdout.flush()
    except KeyboardInterrupt as interruption:
        sys.stderr.write(f"Interrupted. {str(interruption) or 'What was finished is kept.'}\n")
        code = 130
    except BrokenPipeError:
        # The reader has gone (`| head`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # noqa: BLE001 -- the boundary
        code = _complain_of(error)
    sys.exit(code)


def run_program(main: Callable[[], object]) -> NoReturn:
    """Run a command's ``main`` as all that this process is for, and end with it.

    As Python ends, but without taking apart, object by object, what torch has imported: that takes 1.6 seconds.

    Args:
        main: Leaves by `run_command`. What else it raises ends the process as Python would end it.
    """
    try:
        main()
        code: Any = 0
    except SystemExit as leaving:
        code = leaving.code
        if not isinstance(code, int | None):
            raise
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 -- as Python: waits for threads, but for daemons
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def run_hydra_command(
    config_name: str,
    task: Callable[[DictConfig], Any],
    hydra_overrides: Sequence[str] = (),
    rewrite: Callable[[Sequence[str]], list[str]] = list,
) -> NoReturn:
    """Run a command that Hydra configures.

    Args:
        config_name: Primary configuration under ``conf/``.
        task: Gets the composed configuration; returns the objective. In a sweep its
            exceptions are reported and a failed trial is a failed trial.
        hydra_overrides: Of Hydra's own settings, which this command has otherwise; what is typed comes after them.
        rewrite: Gets the command line as typed, without the program's name; returns the one that is run.
    """

    def body() -> None:
        import hydra
        from hydra.core.hydra_config import HydraConfig
        from hydra.errors import HydraException
        from hydra.types import RunMode
        from omegaconf.errors import OmegaConfBaseException

        from dogbreed.config import conf_dir, register_resolvers

        register_resolvers()

        # Let exceptions through to us instead of Hydra's own report and exit code.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        failures: list[Exception] = []
        num_trials = num_failed = 0

        def guarded(cfg: DictConfig) -> Any:
            nonlocal num_trials, num_failed
            is_trial = HydraConfig.get().mode == RunMode.MULTIRUN
            # A search has trials of other workers and of earlier times, too: its end looks at all of them.
            num_trials += is_trial and HydraConfig.get().runtime.choices.get("hydra/sweeper") != "dogbreed"
            try:
                return task(cfg)
            except Exception as error:  # noqa: BLE001 -- carried past Hydra's report; a run's is raised again below
                if is_trial:
                    num_failed += 1
                    _complain_of(error)
                    _let_go(error)
                else:
                    failures.append(error)
                return math.nan

        arguments = [quote_path(argument) for argument in rewrite(sys.argv[1:])]
        sys.argv[1:] = add_overrides(arguments, hydra_overrides, first=True)
        _refuse_unknown(arguments)
        _refuse_both(arguments)
        if not is_main():
            sys.argv[1:] = _as_other_rank(sys.argv[1:])
        try:
            hydra.main(str(conf_dir()), config_name, version_base="1.3")(guarded)()
        except (HydraException, OmegaConfBaseException) as error:
            from dogbreed.config.explain import explain

            raise UserError(explain(error, config_name)) from error
        except RefusedError as error:
            raise UserError(str(error)) from error
        except BrokenPipeError:  # what Hydra prints has no reader any more
            raise
        except OSError as error:  # Hydra makes the run folder
            msg = f"The run folder cannot be made ({error}): choose another place with hydra.run.dir=DIR."
            raise UserError(msg) from error
        if failures:
            raise failures[0]
        if num_trials and num_failed == num_trials and is_main() and SEARCH_WORKER not in os.environ:
            msg = f"None of the {num_trials} trials finished; each one's error is above and in sweep.json."
            raise UserError(msg)

    run_command(body)


def _refuse_unknown(arguments: Sequence[str]) -> None:
    """Refuse an option that there is not, or one amid the values, for which Hydra has ten lines of usage.

    Raises:
        UserError: names what is not understood.
    """
    from hydra._internal.utils import get_args_parser

    _, unknown = get_args_parser().parse_known_args(arguments)
    if unknown:
        msg = (
            f"{unknown[0]} is no option: values are written KEY=VALUE without dashes, and --help lists the keys."
            if unknown[0].startswith("-")
            else f"{unknown[0]} stands apart: write all KEY=VALUE together, options before or behind them."
        )
        raise UserError(msg)


def _refuse_both(arguments: Sequence[str]) -> None:
    """Refuse to show a sweep's configuration, for which Hydra has a traceback.

    Raises:
        UserError: ``-m`` beside ``--cfg`` or the like.
    """
    shown = [word for word in arguments if word.partition("=")[0] in ("--cfg", "-c", "--info", "-i")]
    if shown and {"-m", "--multirun"} & set(arguments):
        msg = f"{shown[0]} shows one run's configuration, and -m makes a sweep: leave one of them out."
        raise UserError(msg)


def quote_path(argument: str) -> str:
    """Take a path literally that would mean something else in Hydra's grammar.

    Only for keys whose values are paths, only if something of that name exists
    or the value cannot be read otherwise; a value quoted already stays as it is.

    Example:
        >>> quote_path("data.root=~/my photos (2026)")
        'data.root="~/my photos (2026)"'
        >>> [quote_path(argument) for argument in ("data.root=/tmp", "data.root=null", "optim.lr=1e-3,3e-3")]
        ['data.root=/tmp', 'data.root=null', 'optim.lr=1e-3,3e-3']
    """
    key, equals, value = argument.partition("=")
    if not equals or not value or value[0] in "'\"" or not _PATH_KEYS.fullmatch(key):
        return argument
    try:
        is_plain = _read(argument) == value
    except ValueError:
        pass
    else:
        if is_plain or not Path(value).expanduser().exists():
            return argument
    escaped = re.sub(r'(\\+)(?="|$)', r"\1\1", value).replace('"', '\\"').replace("${", "\\${")
    return f'{key}="{escaped}"'


def _as_other_rank(arguments: list[str]) -> list[str]:
    """Let Hydra write nothing that lasts and say nothing: under torchrun every rank runs it, and rank 0's counts."""
    nowhere = tempfile.mkdtemp(prefix="dogbreed_rank_")
    atexit.register(shutil.rmtree, nowhere, ignore_errors=True)
    theirs = ("hydra.run.dir=", "hydra.sweep.dir=", "hydra.output_subdir=")
    kept = [argument for argument in arguments if not argument.startswith(theirs)]
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"]
    quiet += [f"hydra.run.dir={nowhere}", f"hydra.sweep.dir={nowhere}"]
    return add_overrides(kept, quiet)


def add_overrides(arguments: Sequence[str], more: Sequence[str], *, first: bool = False) -> list[str]:
    """Add overrides to a command line, beside the others: Hydra's parser wants them in one piece.

    Args:
        arguments: The command line.
        more: What is added: after the others, which it replaces thereby.
        first: Before them instead.

    Raises:
        UserError: a value has no key.

    Example:
        >>> add_overrides(["a=1", "-m"], ["a=2"]), add_overrides(["-m", "a=1"], ["a=2"], first=True)
        (['a=1', 'a=2', '-m'], ['-m', 'a=2', 'a=1'])
    """
    places = [place for place, argument in enumerate(arguments) if "=" in argument and not argument.startswith("-")]
    for place in places:
        if not arguments[place].partition("=")[0].strip("+~ "):
            msg = f"{arguments[place]} names no key: give KEY=VALUE, such as optim.lr=1e-3."
            raise UserError(msg)
    where = len(arguments) if not places else places[0] if first else places[-1] + 1
    return [*arguments[:where], *more, *arguments[where:]]


def _read(argument: str) -> Any:
    """Return what Hydra takes an override's value for; ValueError if it cannot read it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException as error:
        raise ValueError from error
    return override if override.is_sweep_override() else override.value()


def _let_go(error: BaseException | None) -> None:
    """Free what a failed trial's frames still hold, its network above all, for the trials to come."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _complain_of(error: Exception) -> int:
    """Print what the user can mend as a sentence, anything else, our bug, with its traceback; return the exit code."""
    if is_echo(error):  # another rank has told it
        return 2 if isinstance(error, UserError) else 1
    if isinstance(error, UserError):
        sys.stderr.write(f"Error: {sentence_of(error)}\n")
        return 2
    traceback.print_exception(error)
    return 1
