"""Kinds of machine: floating-point results depend on torch and on the CPU's instructions."""

import platform
import re
from pathlib import Path

import torch

# What torch calls the instructions that it uses -> the most that oneDNN may. AVX2 is torch's alone:
# oneDNN 3.x, held to AVX2 on a CPU with AVX-512, crashes in a backward pass.
CAPABILITIES = {"DEFAULT": "SSE41", "AVX2": "ALL", "AVX512": "ALL"}


def capabilities() -> list[str]:
    """This machine's capability, then the lesser ones that it can run with."""
    own, names = torch.backends.cpu.get_cpu_capability(), list(CAPABILITIES)
    return names[names.index(own) :: -1] if own in names else [own]


def environment(capability: str) -> dict[str, str]:
    """Environment that limits a process to this capability, one thread and no GPU."""
    return {
        "ATEN_CPU_CAPABILITY": capability.lower(),
        "ONEDNN_MAX_CPU_ISA": CAPABILITIES.get(capability, "ALL"),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def kind(capability: str) -> str:
    """torch-2.15.0+cpu-AVX512-AMD-EPYC-25-17: the last two are the processor's family and model."""
    return re.sub(r"[^\w.+]+", "-", f"torch-{torch.__version__}-{capability}-{_processor()}").strip("-")


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, re.MULTILINE))
    named = [facts[name] for name in ("model name", "cpu family", "model") if name in facts]
    return " ".join(named) or platform.machine()
