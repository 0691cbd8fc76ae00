"""The command line: Hydra composes, `model.run` runs, mistakes become two lines and exit code 2. Heavy packages load in
the job only.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from model.config.arguments import check_arguments
from model.config.compose import CONF, groups, job_hash, register_schemas
from model.config.messages import CONFIG_ERRORS, before_the_job, two_lines
from model.errors import RunFailed
from model.interruption import Interrupted, listening, received
from model.job import job_of_a_worker, run_job, sweep_job
from model.launch import PLACE, board, by_lightning, end_with_parent, first_process, launched, rank
from model.record.disk import write_failure
from model.record.folder import CONFIG_NAME
from model.report.commands import RUN_FOLDER, SWEEP_FOLDER, as_value
from model.slurm import in_slurm_job, requeue
from model.sweep.callback import SweepComparison, end_sweep

USAGE = """Train n-way CLIP: an image and its captions as 2 to 10 views, contrasted jointly.

  python train.py loss=normsv5 monitor.clip=1.0              one run
  python train.py -m loss=stock,einsum,normsv5 seed=1,2,3    a sweep
  python train.py --cfg job                                  show the composed configuration
  python train.py hydra.run.dir=<folder> ckpt_path=last      go on with a run that was cut

Groups (choose with group=choice; every key inside is group.key=value, described in conf/<group>/):
"""
FLAGS = "\nFlags: -m (sweep; put it before the overrides), --cfg job, --hydra-help (Hydra's own)."


# Here, as the worker processes of parallel launchers import this module and do not come through `command_line`.
OmegaConf.register_new_resolver("job_hash", job_hash, replace=True)


class Outcomes:
    """What the jobs of this process came to."""

    error: Exception | None = None
    """Of a single run: a mistake in its configuration, or why it failed."""
    in_command = False
    """Whether this is the process of the command, and not one that a launcher has started for the jobs of a sweep."""
    begun = False
    """Whether Hydra has come as far as to call `job`."""


@hydra.main(version_base="1.3", config_path=str(CONF), config_name=CONFIG_NAME)
def job(composed: DictConfig) -> float | None:
    """One run; its objective is what Hydra's sweepers optimise (val/recall@1, or what `objective` names)."""
    Outcomes.begun = True
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    if not Outcomes.in_command:
        return job_of_a_worker(composed, folder)
    if settings.mode == RunMode.MULTIRUN:
        return sweep_job(composed, folder)
    board.tell(PLACE, {"arguments": [f"{RUN_FOLDER}={as_value(str(folder.absolute()))}"]})
    try:
        return run_job(composed, folder)
    except (*CONFIG_ERRORS, RunFailed) as error:
        Outcomes.error = error
        return None


def main() -> None:
    """The console script `nway-clip`; ends the process with the exit code of `command_line`."""
    with listening():
        sys.exit(command_line())


def command_line() -> int:
    """Runs `job` with the process's arguments. Exit codes: 0 done, 1 the run or a job in the sweep's folder failed, 2 a
    mistake in the configuration, 128 + signal after a signal.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text())
        return 0
    register_schemas()
    with listening():
        try:
            return joined()
        except Interrupted as interrupted:
            return interrupted_exit(interrupted)
        except Exception:
            if received.number is None:
                raise
            return interrupted_exit(
                Interrupted(received.number)
            )  # what failed, such as a worker, has received the signal too
        finally:
            board.close()


def joined() -> int:
    """Calls `composed_and_run`. A process that is not the first of its run asks the first one for the folder before
    that.
    """
    several = ((launched() or 1) > 1 or by_lightning()) and board.open()
    if by_lightning():
        end_with_parent()
    elif several and not first_process():
        place = board.ask(PLACE)
        if "exit" in place:
            board.leave(place["exit"])
            return place["exit"]
        # As Lightning does for the processes that it starts: two processes must not write one file.
        sys.argv += [
            *place["arguments"],
            f"hydra.job.name={CONFIG_NAME}_ddp_process_{rank()}",
            "hydra.output_subdir=null",
        ]
    code = composed_and_run()
    board.leave(code)
    return code


def composed_and_run() -> int:
    """Hydra composes and calls `job`; what it raises becomes a message and an exit code."""
    Outcomes.error, Outcomes.begun, Outcomes.in_command = None, False, True
    SweepComparison.folder = SweepComparison.run_folder = SweepComparison.failure = None
    in_order = False
    # Hydra would print pages for a mistyped word; with this it raises instead, and the two lines are made here.
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # train.log on a full disk: the run says so in two lines; logging would print a traceback for every record.
    logging.raiseExceptions = False
    try:
        check_arguments(sys.argv[1:])
        job()
        in_order = True
        received.raise_if_received()
        if Outcomes.error is not None:
            raise Outcomes.error
    except CONFIG_ERRORS as error:
        if before == "1":
            raise
        if first_process():
            print(two_lines(error), file=sys.stderr)
        return 2
    except RunFailed as error:
        if first_process():
            print(error, file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:  # of Hydra: a folder that cannot be made, words that it does not take
        folder = SweepComparison.folder or SweepComparison.run_folder
        failure = (
            write_failure(error, folder) if Outcomes.begun and folder else None
        )  # the folder of a sweep's next job
        if before == "1" or (Outcomes.begun and failure is None):
            raise
        if first_process():
            print(failure or before_the_job(error, folder), file=sys.stderr)
        return 1 if failure else 2
    finally:
        received.waits, Outcomes.in_command = False, False
        os.environ["HYDRA_FULL_ERROR"] = before or "0"
        failed = end_sweep(in_order)
    return failed


def interrupted_exit(interrupted: Interrupted) -> int:
    """Says in two lines what a signal has left; asks Slurm to start its job again where the signal means that."""
    again = interrupted.number == signal.SIGUSR1 and in_slurm_job()
    if by_lightning():
        return 0  # any other code would make the first process, which may still be writing, end at once
    if first_process():
        sweep = SweepComparison.folder
        text = interrupted.text or f"{interrupted.reason} before the run began\nto start it: the same command"
        if sweep is not None:
            text = (
                f"the sweep in {sweep} was {interrupted.reason}\nto continue: the same command with "
                f"{SWEEP_FOLDER}={as_value(str(sweep))}"
            )
        if again:
            text = text.partition("\n")[0] + f"\n{requeue()}"
        print(text, file=sys.stderr, flush=True)
    return interrupted.exit_code


def help_text() -> str:
    """Usage and the choices of every group, read from conf/."""
    known = groups()
    width = max(map(len, known))
    return (
        USAGE + "\n".join(f"  {group:{width}}  {', '.join(choices)}" for group, choices in known.items()) + "\n" + FLAGS
    )
