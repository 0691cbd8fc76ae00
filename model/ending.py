"""What follows the last step: splits measured with the best weights, the summary, the analysis, the report."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from model.analysis.callbacks import analyse
from model.analysis.parts import PARTS, AnalysisSettings
from model.checkpoint.callbacks import RunCheckpoints
from model.checkpoint.files import BEST, LAST, checkpoint_path, load_weights
from model.checkpoint.healing import best_is_whole
from model.config.compose import config_hash
from model.config.schema import RunConfig
from model.errors import RunFailed
from model.interruption import received
from model.loggers import finish_loggers
from model.memory import peak_mib
from model.record.disk import write_failure
from model.record.folder import METRICS
from model.record.metrics_csv import read_rows
from model.record.repairs import read_repairs
from model.record.summary import EVALUATION, OBJECTIVE, SUMMARY, UNFINISHED, Summary
from model.report.closing import print_closing
from model.report.draw import draw_report
from model.session import Session
from model.views.towers import Towers


def write_results(session: Session, summary: Summary, make_reference: Callable[[], tuple[Towers, str]]) -> None:
    """The summary first, then what is made of it: analysis, report, the loggers' pictures, the closing table. For the
    first process.
    """
    config, folder = session.config, session.folder
    leaves_files = not config.trainer.fast_dev_run
    if config.train and leaves_files:
        (folder / UNFINISHED).touch()
    summary.write(SUMMARY if config.train else EVALUATION)
    if leaves_files:
        analyse_run(session, make_reference)
    received.raise_if_received()
    pictures = draw_report(folder) if draws(config) else []
    held_out = {key: value for key, value in summary.metrics.items() if key.startswith("test/")}
    if config.train:
        finish_loggers(config.logger, folder, session.trainer.loggers, held_out, pictures, session.trainer.global_step)
    received.raise_if_received()
    if config.train:
        (folder / UNFINISHED).unlink(missing_ok=True)
    if config.trainer.enable_progress_bar:
        print_closing(summary, session.data.sizes(), summary.notes["ceiling"])


def draws(config: RunConfig) -> bool:
    """Whether the run ends with a report."""
    return config.report and not config.trainer.fast_dev_run


def summarise(session: Session, seconds: float) -> Summary:
    """Evaluates the splits that are asked for and gathers everything the run has to say."""
    config, trainer, module = session.config, session.trainer, session.module
    status = "complete" if not (trainer.should_stop or trainer.interrupted) else "stopped"
    metrics = module.train_figures() if config.train else {}
    metrics |= {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
    metrics |= last_validation(session) if config.train else {}
    evaluates = bool(config.evaluate) and not config.trainer.fast_dev_run
    evaluated = take_best_weights(session) if config.train and evaluates else None
    metrics |= evaluate_splits(session) if evaluates else {}
    repairs, replaced = read_repairs(session.folder), replaced_rows(session) if config.train else 0
    return Summary(
        folder=session.folder,
        status=status,
        metrics=metrics,
        config_hash=config_hash(config),
        steps=step_counts(session),
        seconds=seconds,
        step_seconds=session.clock.median(config.trainer.accumulate_grad_batches),
        peak_memory_mib=peak_mib(),
        objective_name=config.objective,
        notes={
            **({"evaluated": evaluated} if evaluated else {}),
            **({"repairs": repairs} if repairs else {}),
            **({"replaced_rows": replaced} if replaced else {}),
            **({"advice": session.view_health.advice if session.view_health else []} if config.train else {}),
            "views": list(module.encoder.plan.names),
            "parameters": sum(p.numel() for p in module.parameters()),
            "batch_size": config.data.batch_size * trainer.world_size,
            "precision": str(trainer.precision),
            "samples": session.data.sizes(),
            "ceiling": {
                split: session.data.ceiling(split) for split in ("val", *config.evaluate) if session.data.ceiling(split)
            },
        },
    )


def replaced_rows(session: Session) -> int:
    """The number of training rows, of all processes, that were replaced because their pictures could no longer be read.
    The log names the files.
    """
    counted = torch.tensor(session.data.replaced_rows(), device=session.trainer.strategy.root_device)
    return int(session.trainer.strategy.reduce(counted, reduce_op="sum"))


def step_counts(session: Session) -> dict[str, int]:
    """Optimizer steps `attempted`, `applied`, `skipped` and `clipped`, those of the run before it was continued
    included.
    """
    attempted = session.trainer.global_step
    counts = session.health.counts if session.health else {}
    skipped = counts.get("skipped", 0) + counts.get("scaler_skips", 0)
    return {
        "attempted": attempted,
        "applied": attempted - skipped,
        "skipped": skipped,
        "clipped": counts.get("clipped", 0),
    }


def require_steps(session: Session) -> None:
    """Raises RunFailed where training has applied no optimizer step: the figures would be those of the first
    weights.
    """
    steps = step_counts(session)
    if not steps["attempted"]:
        raise RunFailed(
            f"no optimizer step was made: training ended before the first one "
            f"(trainer.max_time={session.config.trainer.max_time})"
        )
    if not steps["applied"]:
        raise RunFailed(
            f"none of the {steps['attempted']} optimizer steps was applied: loss or gradient was not finite in all "
            f"of them\n"
            "try a lower optimizer.lr or trainer.precision=32-true; docs/gradient-health.md has a checklist for "
            "unstable runs"
        )


def last_validation(session: Session) -> dict[str, float]:
    """`val/*` figures of the last validation, as a run continued from its very end does not validate again: from its
    checkpoint, or, where that is of an earlier version, from metrics.csv.
    """
    checkpoints = run_checkpoints(session)
    if checkpoints is not None and checkpoints.validation:
        return checkpoints.validation
    rows = [row for row in read_rows(session.folder / METRICS) if OBJECTIVE in row]
    return {key: float(value) for key, value in rows[-1].items() if key.startswith("val/")} if rows else {}


def run_checkpoints(session: Session) -> RunCheckpoints | None:
    """The callback that writes checkpoints; None where none are written."""
    return next((callback for callback in session.trainer.callbacks if isinstance(callback, RunCheckpoints)), None)


def evaluate_splits(session: Session) -> dict[str, float]:
    """`<split>/<figure>` of every split of `evaluate`, with the weights that the module has."""
    figures = {}
    # Without a fit the data do not know yet which process they are in.
    session.data.trainer = session.trainer
    for split in dict.fromkeys(session.config.evaluate):
        session.trainer.test(session.module, dataloaders=session.data.eval_dataloader(split), verbose=False)
        figures |= {f"{split}/{name}": float(value) for name, value in session.trainer.callback_metrics.items()}
    return figures


def take_best_weights(session: Session) -> str:
    """Gives the module the weights of best.ckpt and returns `best`; where there are none that can be used, it keeps the
    last ones: `last`.
    """
    trainer, checkpoints = session.trainer, run_checkpoints(session)
    if checkpoints is None:
        return LAST
    instead = "the splits of `evaluate` are measured with the last weights"
    usable = trainer.is_global_zero and best_is_whole(session.folder, checkpoints.best, instead)
    if not trainer.strategy.broadcast(usable):
        return LAST
    session.module.load_state_dict(load_weights(checkpoint_path(session.folder, BEST), session.module))
    return BEST


def analyse_run(session: Session, make_reference: Callable[[], tuple[Towers, str]]) -> None:
    """analysis.json and what belongs to it. The run is over and its summary written: nothing that happens here can make
    it a failed one. Raises OSError where the file system takes no more.
    """
    try:
        settings = analysis_settings(session.config, session.folder)
        module = session.module
        analyse(session.trainer, module.encoder, module.loss, session.data, settings, make_reference)
    except (Exception, KeyboardInterrupt) as error:
        if write_failure(error, session.folder):
            raise
        warnings.warn(f"the run has no analysis: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=2)


def analysis_settings(config: RunConfig, folder: Path) -> AnalysisSettings:
    """The values of the configuration that the analysis reads."""
    keys = config.analysis
    return AnalysisSettings(
        parts=tuple(name for name in PARTS if getattr(keys, name)),
        splits=tuple(dict.fromkeys(config.evaluate)),
        seed=config.seed,
        folder=folder,
        samples=keys.samples,
        resamples=keys.resamples,
        probe_samples=keys.probe_samples,
        cka_samples=keys.cka_samples,
        examples=keys.examples,
    )
