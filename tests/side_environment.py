"""Environments for what does not fit beside the rest, kept in the user's cache folder between test sessions."""

import os
from pathlib import Path

from launch.toolkit.environment import toolkit_python
from launch.toolkit.side_environment import python_of, side_environment

# Found before the tests get caches of their own.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")

# smdebug's own protobuf is older than today's TensorBoard takes; psutil it needs without saying so. pyinstrument, a
# C extension without wheels for which smdebug has no use any more, is left out: dogbreed does without.
OLD_PROTOBUF = ("smdebug==1.0.34", "protobuf==3.20.3", "tensorboard==2.20.0", "psutil==7.2.2")
# As in a container, beside the protobuf that is there.
NEW_PROTOBUF = ("smdebug==1.0.34", "psutil==7.2.2")


def side_python(packages: tuple[str, ...]) -> Path:
    """Return the interpreter of an environment with these packages in front of ours, made if it is not there."""
    return python_of(side_environment(CACHE / "dogbreed-tests", packages))


if __name__ == "__main__":
    for wanted in (OLD_PROTOBUF, NEW_PROTOBUF):
        print(side_python(wanted))
    print(toolkit_python(print, CACHE / "dogbreed" / "toolkit"))
