"""What follows training: the evaluation with the best weights, the summary, the analysis, the report."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from model.analysis.callbacks import analyse
from model.analysis.parts import PARTS, AnalysisSettings
from model.checkpoint.files import BEST, LAST, checkpoint_path, load_weights
from model.checkpoint.healing import best_is_undamaged
from model.config.compose import config_hash
from model.config.schema import RunConfig
from model.data.module import CaptionData
from model.errors import RunFailed
from model.failures import draws_report
from model.interruption import received
from model.loggers import finish_loggers
from model.memory import peak_mib
from model.record.disk import write_failure
from model.record.folder import METRICS
from model.record.metrics_csv import read_rows
from model.record.repairs import read_repairs
from model.record.summary import EVALUATION, OBJECTIVE, SUMMARY, UNFINISHED, Summary
from model.report.closing import print_closing
from model.report.draw import draw_report, start_report
from model.session import Session
from model.side_process import SideProcess
from model.views.towers import Towers


def write_results(
    session: Session, summary: Summary, make_reference: Callable[[], tuple[Towers, str]], side: SideProcess
) -> None:
    """Writes the summary, and then the analysis, the report, the pictures of the loggers and the closing table.

    For the first process. make_reference: builds the towers that analysis.cka compares with, and returns their name;
    side: draws pictures and fits probes at the same time.
    """
    config, folder, data = session.config, session.folder, session.parts.data
    leaves_files = not config.trainer.fast_dev_run
    if config.train and leaves_files:
        (folder / UNFINISHED).touch()
    summary.write(SUMMARY if config.train else EVALUATION)
    started = start_report(folder, side) if draws_report(config) and side.is_running else []
    if leaves_files:
        analyse_run(session, make_reference, side)
    side.begin()
    received.raise_if_received()
    pictures = draw_report(folder, side, started) if draws_report(config) else []
    held_out = {key: value for key, value in summary.metrics.items() if key.startswith("test/")}
    if config.train:
        finish_loggers(config.logger, folder, session.trainer.loggers, held_out, pictures, session.trainer.global_step)
    received.raise_if_received()
    if config.train:
        (folder / UNFINISHED).unlink(missing_ok=True)
    if config.trainer.enable_progress_bar:
        print_closing(summary, data.sizes(), ceilings(data, config.evaluate))


def summarise(session: Session, seconds: float) -> Summary:
    """Evaluates the splits of `evaluate` and returns the summary. seconds: wall-clock time of training."""
    config, trainer = session.config, session.trainer
    status = "stopped" if trainer.should_stop or trainer.interrupted else "complete"
    metrics = session.parts.module.train_figures() if config.train else {}
    metrics |= {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
    metrics |= last_validation(session) if config.train else {}
    evaluates = bool(config.evaluate) and not config.trainer.fast_dev_run
    evaluated = load_best_weights(session) if config.train and evaluates else None
    metrics |= evaluate_splits(session) if evaluates else {}
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
        notes=training_notes(session, evaluated) | facts(session),
    )


def training_notes(session: Session, evaluated: str | None) -> dict[str, object]:
    """Returns the entries of summary.json that depend on how training went; most of them are there only if needed.

    evaluated: the checkpoint that was evaluated on the splits of `evaluate`, None without an evaluation.
    """
    train = session.config.train
    repairs, replaced = read_repairs(session.folder), replaced_rows(session) if train else 0
    optional = {"evaluated": evaluated, "repairs": repairs, "replaced_rows": replaced}
    notes: dict[str, object] = {name: value for name, value in optional.items() if value}
    if train:
        if session.checkpoints is not None and session.checkpoints.best is not None:
            notes["best"] = {
                "metric": session.best.metric,
                "mode": session.best.mode,
                "value": session.checkpoints.best,
            }
        notes["advice"] = session.view_health.advice if session.view_health else []
    return notes


def facts(session: Session) -> dict[str, object]:
    """Returns the entries of summary.json that hold for the run from its beginning."""
    module, data, trainer = session.parts.module, session.parts.data, session.trainer
    return {
        "views": list(module.encoder.plan.names),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "batch_size": session.config.data.batch_size * trainer.world_size,
        "precision": str(trainer.precision),
        "samples": data.sizes(),
        "ceiling": ceilings(data, session.config.evaluate),
    }


def ceilings(data: CaptionData, evaluate: Sequence[str]) -> dict[str, dict[str, float]]:
    """Returns, for val and the splits of `evaluate`, the highest recall that the captions allow, where it is known."""
    known = {split: data.ceiling(split) for split in ("val", *evaluate)}
    return {split: ceiling for split, ceiling in known.items() if ceiling}


def replaced_rows(session: Session) -> int:
    """Returns how many training rows, in all processes, were replaced because their pictures could no longer be read.
    The log names the files.
    """
    counted = torch.tensor(session.parts.data.replaced_rows(), device=session.trainer.strategy.root_device)
    return int(session.trainer.strategy.reduce(counted, reduce_op="sum"))


def step_counts(session: Session) -> dict[str, int]:
    """Returns the optimizer steps `attempted`, `applied`, `skipped` and `clipped`, including those before the run was
    continued.
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
    """Raises RunFailed where no optimizer step was applied: the metrics would be those of the initial weights."""
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
    """Returns the val/* metrics of the last validation: from the checkpoint, or from metrics.csv where the checkpoint
    is of an earlier version. A run that is continued after its last step does not validate again.
    """
    if session.checkpoints is not None and session.checkpoints.validation:
        return session.checkpoints.validation
    rows = [row for row in read_rows(session.folder / METRICS) if OBJECTIVE in row]
    return {key: float(value) for key, value in rows[-1].items() if key.startswith("val/")} if rows else {}


def evaluate_splits(session: Session) -> dict[str, float]:
    """Returns `<split>/<metric>` for every split of `evaluate`, with the weights that the module has. Keeps the views
    for the analysis.
    """
    metrics: dict[str, float] = {}
    trainer, module, data = session.trainer, session.parts.module, session.parts.data
    data.trainer = trainer  # without a fit, Lightning has not set it, and the data ask it for the number of processes
    for split in dict.fromkeys(session.config.evaluate):
        trainer.test(module, dataloaders=data.eval_dataloader(split), verbose=False)
        metrics |= {f"{split}/{name}": float(value) for name, value in trainer.callback_metrics.items()}
        views, module.test_views = module.test_views, None
        if views is not None and views.shape[1] == data.source.size(split):
            session.evaluated_views[split] = views[:, : session.config.analysis.samples].clone()
            session.evaluated_ranks[split] = module.test_ranks
    return metrics


def load_best_weights(session: Session) -> str:
    """Loads the weights of best.ckpt and returns `best`; where there is no usable best.ckpt, the module keeps the last
    weights, and the function returns `last`.
    """
    trainer, checkpoints = session.trainer, session.checkpoints
    if checkpoints is None:
        return LAST
    instead = "the splits of `evaluate` are measured with the last weights"
    usable = trainer.is_global_zero and best_is_undamaged(session.folder, checkpoints.best, instead)
    if not trainer.strategy.broadcast(usable):
        return LAST
    module = session.parts.module
    module.load_state_dict(load_weights(checkpoint_path(session.folder, BEST), module))
    return BEST


def analyse_run(session: Session, make_reference: Callable[[], tuple[Towers, str]], side: SideProcess) -> None:
    """Writes analysis.json and the files that belong to it. The summary of the run is already written, so that an error
    here becomes a warning. Raises OSError where the file system refuses to write.
    """
    module, data = session.parts.module, session.parts.data
    try:
        settings = analysis_settings(session.config, session.folder)
        known = session.evaluated_views, session.evaluated_ranks
        analyse(session.trainer, module.encoder, module.loss, data, settings, make_reference, *known, side)
    except (Exception, KeyboardInterrupt) as error:
        if write_failure(error, session.folder):
            raise
        warnings.warn(f"the run has no analysis: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=2)


def analysis_settings(config: RunConfig, folder: Path) -> AnalysisSettings:
    """Returns the values of the configuration that the analysis reads."""
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
