"""Five papers on convolutional auto-encoders, reproduced from raw images to CSV."""

import sys
from importlib.util import find_spec

if any(find_spec(name) is None for name in ("yaml", "numpy", "torch")):
    sys.exit(
        f"{sys.executable} lacks this project's libraries: `source .venv/bin/activate` (`make env` builds it)"
    )
