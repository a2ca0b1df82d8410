import os
import subprocess
import sys

import pytest

PAGE_FAULTS = """
import resource
from dogbreed.allocator import keeping_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytearray(32_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = faults()
with keeping_freed_memory():
    with keeping_freed_memory():
        faults()
    kept = faults()
print(plain, kept, faults())
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")


def test_freed_memory_is_used_again_until_the_end() -> None:
    plain, kept, after = count_faults()

    assert kept < plain / 20
    assert after > plain / 2


def test_what_the_environment_says_about_memory_stands() -> None:
    plain, kept, _ = count_faults(MALLOC_TRIM_THRESHOLD_="131072")

    assert kept > plain / 2


def count_faults(**environment: str) -> list[int]:
    command = [sys.executable, "-c", PAGE_FAULTS]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]
