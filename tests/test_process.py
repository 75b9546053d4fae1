import subprocess
import sys

import pytest

from blastscope.process import keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from blastscope.process import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(200_000)  # what the first one needs is not counted
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(200_000), np.ones(200_000)  # 1.6 MB each
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="wants glibc")
def test_memory_that_was_freed_is_used_again():
    assert _faults("keep") < _faults("as it is") / 5
