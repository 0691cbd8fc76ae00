"""Slurm: whether this process belongs to a job, whether the job was restarted, and how to requeue it."""

from __future__ import annotations

import os
import subprocess

from model.launch import INTERACTIVE


def in_slurm_job() -> bool:
    """Returns whether this process belongs to a job that Slurm can restart; an interactive job does not count."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def restarted_by_slurm() -> bool:
    """Returns whether Slurm has restarted this job."""
    count = os.environ.get("SLURM_RESTART_COUNT", "0")
    return in_slurm_job() and count.isdigit() and int(count) > 0


def requeue() -> str:
    """Asks Slurm to restart this job; returns a sentence with the result."""
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
