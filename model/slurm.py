"""Jobs of Slurm: whether this process is one, whether it was started again, and how it is."""

from __future__ import annotations

import os
import subprocess

from model.launch import INTERACTIVE


def in_slurm_job() -> bool:
    """Whether this process belongs to a job that Slurm can start again; a shell that was asked for is none."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def restarted_by_slurm() -> bool:
    """Whether Slurm has started this job before."""
    return (
        in_slurm_job()
        and os.environ.get("SLURM_RESTART_COUNT", "0").isdigit()
        and int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    )


def requeue() -> str:
    """Asks Slurm to start this job again; returns what came of it, in words."""
    job, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    name = f"{job}_{task}" if job and task else os.environ["SLURM_JOB_ID"]
    try:
        done = subprocess.run(["scontrol", "requeue", name], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"job {name} could not be requeued ({error})"
    return (
        f"job {name} is requeued"
        if done.returncode == 0
        else f"job {name} could not be requeued ({done.stderr.strip() or done.returncode})"
    )
