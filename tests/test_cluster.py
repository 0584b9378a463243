"""A real SLURM on one machine: cancelled and requeued jobs resume from checkpoints, to the same table."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import both, command, keep_only, set_params

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
LACKING = [name for name in NEEDED if shutil.which(name, path=PATH) is None]
PLUGIN = importlib.util.find_spec("snakemake_executor_plugin_slurm")

pytestmark = [
    pytest.mark.graph,
    pytest.mark.skipif(bool(LACKING), reason=f"no {', '.join(LACKING)}: apt install slurm-wlm munge"),
    pytest.mark.skipif(PLUGIN is None, reason="no SLURM plugin here: make cluster-test"),
    pytest.mark.skipif(os.geteuid() != 0, reason="SLURM's daemons are started by root alone"),
]

CONF = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
MinJobAge=3600
KillWait=10
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 Gres=gpu:2
PartitionName=loopback Nodes={host} Default=YES MaxTime=1440
"""


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def until(true, what: str, *, seconds: float = 60.0):
    """Wait for a process; return its output."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return found


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """munged, slurmctld and slurmd on the loopback, with two GPUs that are files; ended at the end."""
    folder, host = tmp_path / "slurm", socket.gethostname().split(".")[0]
    for each in ("state", "spool", "bin"):
        (folder / each).mkdir(parents=True)
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, host=host, ports=free_ports(2)))
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    # The plugin takes SLURM_CONF from its job steps, for which the usual place is the only one.
    (folder / "bin" / "srun").write_text(
        f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n'
    )
    (folder / "bin" / "srun").chmod(0o755)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    monkeypatch.setenv("PATH", f"{folder}/bin{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{PATH}")
    munge = [
        f"--{name}={folder}/{file}"
        for name, file in (
            ("key-file", "key"),
            ("socket", "munge.socket"),
            ("pid-file", "munged.pid"),
            ("log-file", "munged.log"),
            ("seed-file", "munged.seed"),
        )
    ]
    daemons = [
        subprocess.Popen(
            [shutil.which(name), *words], stdout=subprocess.DEVNULL, stderr=(folder / f"{name}.err").open("w")
        )
        for name, *words in (
            ("munged", "--foreground", "--force", *munge),
            ("slurmctld", "-D", "-c"),
            ("slurmd", "-D", "-N", host),
        )
    ]
    try:
        until(lambda: "idle" in said("sinfo", "-h", "-o", "%T"), "a node that is idle")
        yield folder
    finally:
        subprocess.run(["scancel", "--user=root", "--quiet"], check=False)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=20)


def said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def job_of(checkpoint: Path) -> str:
    """The number of the running job of this folder, by the run's key in its comment."""
    key = checkpoint.parent.name.partition("-")[2]
    lines = said("squeue", "-h", "-t", "R", "-o", "%A %k").splitlines()
    return next((line.split()[0] for line in lines if key in line), "")


QUICK = [
    "--slurm-no-account",
    "--slurm-status-command",
    "squeue",
    "--slurm-init-seconds-before-status-checks",
    "1",
    "--seconds-between-status-checks",
    "1",
    "--latency-wait",
    "5",
    "--default-resources",
    "slurm_partition=loopback",
    "mem_mb=500",
    "runtime=5",
]


def test_jobs_cancelled_or_requeued_by_slurm_resume_to_the_same_table(workplace, slurm):
    keep_only(workplace, "table6")
    paper = workplace / "pipeline" / "papers" / "dong2016.yaml"
    facts = yaml.safe_load(paper.read_text())
    rows = facts["tables"]["table6"]["rows"]
    facts["tables"]["table6"]["rows"] = {"Ours full shortcut": rows["Ours full shortcut"]}
    paper.write_text(yaml.safe_dump(facts, sort_keys=False))
    set_params(workplace, engine__checkpoint_seconds=0, scales__smoke__epochs=both(100))
    command("snakemake", "--cores", "2", "results/table6.csv", folder=workplace)
    alone = (workplace / "results" / "table6.csv").read_bytes()
    for made in ("results/runs", "results/logs", "data"):
        shutil.rmtree(workplace / made)
    (workplace / "results" / "table6.csv").unlink()

    words = ["snakemake", "results/table6.csv", "--profile", "profiles/slurm", *QUICK]
    with (workplace / "submitted.log").open("w") as log:
        run = subprocess.Popen(words, cwd=workplace, stdout=log, stderr=log)
    struck = {}
    try:
        for stage, blow in {"pretrain": ("scancel",), "finetune": ("scontrol", "requeue")}.items():
            folders = workplace / "results" / "runs" / "smoke" / stage

            def writing(folders=folders) -> Path | None:
                assert run.poll() is None, (workplace / "submitted.log").read_text()
                return next(iter(folders.glob("*/*/checkpoint.pt")), None)

            checkpoint = until(writing, f"a checkpoint of {stage}", seconds=300)
            subprocess.run([*blow, job_of(checkpoint)], check=True)
            struck[checkpoint.parent] = blow
        assert run.wait(timeout=400) == 0, (workplace / "submitted.log").read_text()
    finally:
        run.terminate()
    assert (workplace / "results" / "table6.csv").read_bytes() == alone
    assert len(struck) == 2
    for folder, blow in struck.items():
        log = (
            workplace / "results" / "logs" / folder.relative_to(workplace / "results" / "runs")
        ).with_suffix(".log")
        assert "resumes at step" in log.read_text(), blow
    # Both measurements were one SLURM job with one GPU.
    submitted = (workplace / "submitted.log").read_text()
    (job,) = re.findall(r"submitted with SLURM jobid (\d+) \(log: \S+/group_evaluate", submitted)
    assert len(list((workplace / "results" / "runs" / "smoke" / "evaluate").glob("*/*/metrics.json"))) == 2
    assert re.search(r"TresPerNode=gres:gpu:1$", said("scontrol", "show", "job", job), re.MULTILINE)
