"""The wrapper of every command: the only place that turns errors into exit codes.

0 done · 2 one sentence on standard error · 1 a traceback (our bug) · 130 interrupted.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dogbreed.errors import UserError, sentence_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Values of these keys are file names, which may hold what Hydra's grammar gives a meaning to.
_PATH_KEYS = re.compile(r"(?:\+{0,2})(?:[\w.]*\.)?(?:root|manifest|weights|folder|run|data_root|checkpoint_dir)")


def run_command(body: Callable[[], int | None]) -> NoReturn:
    """Run a command's body and leave the process with the right exit code.

    Args:
        body: Does the work; may return an exit code.
    """
    try:
        code = body() or 0
        sys.stdout.flush()
    except UserError as error:
        code = _complain(sentence_of(error))
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. What was finished is kept.\n")
        code = 130
    except BrokenPipeError:
        # The reader has gone (`| head`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception:  # noqa: BLE001 -- whatever is left is our bug and shows itself
        traceback.print_exc()
        code = 1
    sys.exit(code)


def run_hydra_command(config_name: str, task: Callable[[DictConfig], Any]) -> NoReturn:
    """Run a command that Hydra configures.

    Args:
        config_name: Primary configuration under ``conf/``.
        task: Gets the composed configuration. In a sweep its exceptions must not
            reach us: a failed trial is a failed trial.
    """

    def body() -> None:
        import hydra
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        from dogbreed.config import conf_dir, register_resolvers

        register_resolvers()

        # Let exceptions through to us instead of Hydra's own report and exit code.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        failures: list[Exception] = []

        def guarded(cfg: DictConfig) -> Any:
            try:
                return task(cfg)
            except Exception as error:  # noqa: BLE001 -- carried past Hydra's report, raised again below
                failures.append(error)
                return None

        sys.argv[1:] = [quote_path(argument) for argument in sys.argv[1:]]
        try:
            hydra.main(str(conf_dir()), config_name, version_base="1.3")(guarded)()
        except (HydraException, OmegaConfBaseException) as error:
            from dogbreed.config.explain import explain

            raise UserError(explain(error, config_name)) from error
        except OSError as error:  # Hydra makes the run folder
            msg = f"The run folder cannot be made ({error}): choose another place with hydra.run.dir=DIR."
            raise UserError(msg) from error
        if failures:
            raise failures[0]

    run_command(body)


def quote_path(argument: str) -> str:
    """Take a path literally that would mean something else in Hydra's grammar.

    Only for keys whose values are paths, only if something of that name exists
    or the value cannot be read otherwise; a value quoted already stays as it is.

    Example:
        >>> quote_path("data.root=/tmp")
        'data.root="/tmp"'
        >>> quote_path("optim.lr=1e-3,3e-3")
        'optim.lr=1e-3,3e-3'
    """
    key, equals, value = argument.partition("=")
    if not equals or not value or value[0] in "'\"" or not _PATH_KEYS.fullmatch(key):
        return argument
    if Path(value).expanduser().exists() or not _is_readable(argument):
        escaped = re.sub(r'(\\+)(?="|$)', r"\1\1", value).replace('"', '\\"').replace("${", "\\${")
        return f'{key}="{escaped}"'
    return argument


def _is_readable(argument: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True


def _complain(sentence: str) -> int:
    sys.stderr.write(f"Error: {sentence}\n")
    return 2
