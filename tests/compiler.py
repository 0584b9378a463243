"""The compiler that some tests need."""

import shutil

import pytest

from pipeline.compute.device import COMPILER

compiled = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="no compiler")
