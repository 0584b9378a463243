"""The compiler that some tests need; in CI, which installs it, they are not skipped."""

import os
import shutil

import pytest

from pipeline.compute.device import COMPILER

compiled = pytest.mark.skipif(
    shutil.which(COMPILER) is None and not os.environ.get("CI"), reason="no compiler"
)
