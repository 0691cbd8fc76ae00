"""The command line: Hydra composes, `model.run` runs, mistakes become two lines and exit code 2. Heavy packages are
imported in the job only.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from model.command_line import CommandLine, active_command
from model.config.arguments import check_arguments
from model.config.compose import CONF, groups, job_hash, register_schemas
from model.config.messages import CONFIG_ERRORS, startup_message, two_lines
from model.errors import RunFailed
from model.interruption import Interrupted, exit_when_interrupted, listening, received
from model.job import job_of_a_worker, run_job, sweep_job
from model.launch import PLACE, board, by_lightning, end_with_parent, first_process, launched, rank
from model.record.disk import write_failure
from model.record.folder import CONFIG_NAME
from model.report.commands import RUN_FOLDER, SWEEP_FOLDER, as_value
from model.slurm import in_slurm_job, requeue
from model.sweep.callback import end_sweep

EXAMPLES = (
    ("loss=normsv5 monitor.clip=1.0", "one run"),
    ("-m loss=stock,einsum,normsv5 seed=1,2,3", "a sweep"),
    ("--cfg job", "show the composed configuration"),
    ("hydra.run.dir=<folder> ckpt_path=last", "continue an interrupted run"),
)
FLAGS = "Flags: -m (sweep; put it before the overrides), --cfg job, --hydra-help (Hydra's own)."


# Here, because the worker processes of parallel launchers import this module and do not call `command_line`.
OmegaConf.register_new_resolver("job_hash", job_hash, replace=True)


def main() -> None:
    """Runs the command of this process, and ends the process with the exit code of `command_line`."""
    with exit_when_interrupted():
        sys.exit(command_line())


def command_line() -> int:
    """Runs the command in `sys.argv` and returns its exit code: 0 done, 1 the run or a job in the sweep's folder has
    failed, 2 a mistake in the configuration, 128 + signal after a signal.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text(sys.argv[0]))
        return 0
    register_schemas()
    command = CommandLine(sys.argv)
    with listening():
        try:
            return run_with_others(command)
        except Interrupted as interrupted:
            return interrupted_exit(interrupted, command.sweep_folder)
        except Exception:
            if received.number is None:
                raise
            # What failed, such as a worker process, has received the signal too.
            return interrupted_exit(Interrupted(received.number), command.sweep_folder)
        finally:
            board.close()


def run_with_others(command: CommandLine) -> int:
    """Calls `compose_and_run`. A process that is not the first of its run first waits for the folder of the run."""
    has_store = ((launched() or 1) > 1 or by_lightning()) and board.join()
    if by_lightning():
        end_with_parent()
    elif has_store and not first_process():
        place = board.wait_for(PLACE)
        if "exit" in place:
            board.leave(place["exit"])
            return place["exit"]
        # As Lightning does for the processes that it starts: two processes must not write the same log file.
        log_file = [f"hydra.job.name={CONFIG_NAME}_ddp_process_{rank()}", "hydra.output_subdir=null"]
        command.argv += [*place["arguments"], *log_file]
    code = compose_and_run(command)
    board.leave(code)
    return code


def compose_and_run(command: CommandLine) -> int:
    """Lets Hydra compose the configuration and call `job`; turns an error into a message and an exit code."""
    has_returned = False
    with command.active():
        try:
            check_arguments(command.arguments)
            job()
            has_returned = True
            received.raise_if_received()
            if command.error is not None:
                raise command.error
        except (*CONFIG_ERRORS, RunFailed, OSError, ValueError) as error:
            return failed_exit(error, command)
        finally:
            received.waits = False
            code = end_sweep(command, has_returned)
        return code


def failed_exit(error: Exception, command: CommandLine) -> int:
    """Prints the message for `error` and returns the exit code. Raises `error` again where it is an error of this
    program, or the user has asked for tracebacks.
    """
    folder = command.sweep_folder or command.run_folder
    if isinstance(error, CONFIG_ERRORS):
        if command.wants_tracebacks:
            raise error
        code, message = 2, two_lines(error)
    elif isinstance(error, RunFailed):
        code, message = 1, str(error)
    else:  # from Hydra: a folder that cannot be made, or text that it cannot read
        assert isinstance(error, (OSError, ValueError))
        # The folder of the next job of a sweep is made after the first job began.
        failure = write_failure(error, folder) if command.job_began and folder else None
        if command.wants_tracebacks or (command.job_began and failure is None):
            raise error
        code, message = (1, str(failure)) if failure else (2, startup_message(error, folder))
    if first_process():
        print(message, file=sys.stderr)
    return code


@hydra.main(version_base="1.3", config_path=str(CONF), config_name=CONFIG_NAME)
def job(composed: DictConfig) -> float | None:
    """Runs one job and returns its objective, which Hydra's sweepers maximise (val/recall@1, or `objective`)."""
    settings, command = HydraConfig.get(), active_command()
    folder = Path(settings.runtime.output_dir)
    if command is None:
        return job_of_a_worker(composed, folder)
    command.job_began = True
    if settings.mode == RunMode.MULTIRUN:
        return sweep_job(composed, folder)
    board.publish(PLACE, {"arguments": [f"{RUN_FOLDER}={as_value(str(folder.absolute()))}"]})
    try:
        return run_job(composed, folder)
    except (*CONFIG_ERRORS, RunFailed) as error:  # Hydra would print a traceback
        command.error = error
        return None


def interrupted_exit(interrupted: Interrupted, sweep_folder: Path | None) -> int:
    """Prints two lines: what was interrupted, and how to continue. Returns the exit code.

    Asks Slurm to restart its job where the signal means that.
    """
    if by_lightning():
        return 0  # with another code, Lightning would end the first process, which may still be writing
    if not first_process():
        return interrupted.exit_code
    text = interrupted.text or f"{interrupted.reason} before the run began\nto start it: the same command"
    if sweep_folder is not None:
        text = (
            f"the sweep in {sweep_folder} was {interrupted.reason}\nto continue: the same command with "
            f"{SWEEP_FOLDER}={as_value(str(sweep_folder))}"
        )
    if interrupted.number == signal.SIGUSR1 and in_slurm_job():
        text = text.partition("\n")[0] + f"\n{requeue()}"
    print(text, file=sys.stderr, flush=True)
    return interrupted.exit_code


def help_text(program: str) -> str:
    """Returns the usage, and the choices of every group, read from conf/. program: sys.argv[0]."""
    name = Path(program).name
    typed = f"python {name}" if name.endswith(".py") else name
    examples = [(f"{typed} {arguments}", purpose) for arguments, purpose in EXAMPLES]
    return "\n".join(
        (
            "Train n-way CLIP: an image and its captions as 2 to 10 views, contrasted jointly.\n",
            *table(examples, gap=6),
            "\nGroups (choose with group=choice; every key inside is group.key=value, described in conf/<group>/):\n",
            *table([(group, ", ".join(choices)) for group, choices in groups().items()], gap=2),
            f"\n{FLAGS}",
        )
    )


def table(rows: list[tuple[str, str]], *, gap: int) -> list[str]:
    """Returns one indented line for each row, with `gap` spaces after the longest first column."""
    width = max(len(first) for first, _ in rows) + gap
    return [f"  {first:{width}}{second}" for first, second in rows]
