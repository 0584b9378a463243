"""Exposure: runs record no secrets of the environment; addresses are printed without passwords."""

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from torture import Fault
from torture.damage import FULL, short_params
from torture.interruption import done

SECRET = "hunter2hunter2"
ADDRESSES = [
    f"http://reader:{SECRET}@127.0.0.1:9",
    f"postgresql://reader:{SECRET}@127.0.0.1:9/runs",
    f"mysql+pymysql://reader:p@{SECRET}@127.0.0.1:9/runs",
    f"http://{SECRET}@127.0.0.1:9/?token={SECRET}",
    "sqlite:///mlflow.db",
]
ENVIRONMENT = dict.fromkeys(
    ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN", "API_KEY"),
    SECRET,
)


def secrets(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Run with stores of many kinds: no output and no file contains the secret."""
    short_params(place)
    done(place, sys.executable, "-m", "pipeline.shard", "imagenet")
    for number in range(times):
        address = ADDRESSES[number % len(ADDRESSES)]
        more = {**ENVIRONMENT, "MLFLOW_TRACKING_URI": address, "MLFLOW_TRACKING_USERNAME": "reader"}
        said = done(place, sys.executable, "-m", "pipeline.pretrain", FULL, **more)
        said += done(place, sys.executable, "-m", "pipeline.track", check=False, **more)
        leaks = ["what was said"] if SECRET in said else []
        leaks += [
            str(file) for file in place.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()
        ]
        yield f"the secret is in {leaks}" if leaks else ""


def listens(place: Path, times: int, rng: Random) -> Iterator[str]:
    """The project opens no port; servers that README starts listen on this machine only."""
    root = Path(__file__).parents[1]
    for file in (root / "README.md", root / "Makefile"):
        for line in file.read_text().splitlines():
            if "mlflow ui" in line or "mlflow server" in line:
                yield "" if "--host 127.0.0.1" in line else f"{file.name}: {line}"
    for file in (root / "pipeline").rglob("*.py"):
        text = file.read_text()
        yield f"{file} listens everywhere" if "0.0.0.0" in text or 'bind(("' in text else ""


FAULTS = {
    "exposure: secrets in the environment and addresses": Fault(secrets, 5),
    "exposure: what listens": Fault(listens, 1, few=1),
}
