"""Commit, machine and time, for every record."""

import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

COMMIT = Path("COMMIT")  # of a project that was packed for a machine without git


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def machine(device: "torch.device") -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": name,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")


def commit() -> str:
    """The last commit that touched pipeline/, with a `+` if edited since; `unknown` without git."""
    if COMMIT.exists():
        return COMMIT.read_text().strip()
    if shutil.which("git") is None:
        return "unknown"

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words, "--", "pipeline"], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    return (git("log", "-1", "--format=%h", "--abbrev=12") or "unknown") + (
        "+" if git("status", "--porcelain") else ""
    )
