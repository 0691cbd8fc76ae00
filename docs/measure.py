"""Measures the tables of docs/results.md and draws their pictures: ``python docs/measure.py <folder> [part ...]``.

Each part is a sweep in its own folder below <folder>. An interrupted part continues, and complete jobs are not run
again. Tables are printed as Markdown. Without part names all parts are run, which takes hours. `--list` prints the
parts and their commands.
"""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECALLS = ("recall@1", "recall@5", "recall@10", "joint_recall@1", "swap_acc")
SHORT = ("data.train_size=4096", "trainer.max_epochs=8", "model.captions=2")
QUIET = ("trainer.enable_progress_bar=false",)
FIRST = ("loss=normsv5", "monitor.clip=1.0")
SEARCH = (
    *FIRST,
    *SHORT,
    "seed=10,11,12",
    "analysis=off",
    "report=false",
    "evaluate=[val]",
    "trainer.check_val_every_n_epoch=8",
)
# Further settings that could limit recall, one change each.
OTHERS = (
    ("optimizer.weight_decay=0",),
    ("schedule.final=0.1",),
    ("model.projection=identity",),
    ("model.eot_select=gumbel",),
    ("backbone.text_layers=2",),
    ("backbone.text_width=128", "backbone.vision_width=128"),
)
LOSSES = ("stock", "pairwise_clip", "norms", "normsv5", "gram", "einsum")
EMOJI = ("experiment=emoji", "monitor.clip=1.0")
# Part -> the arguments of its sweeps; the commands of a part share a folder.
PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "first": ((*FIRST, "seed=0,1,2,3,4"),),
    "short": tuple((*FIRST, *SHORT, f"model={model}", "seed=0,1,2") for model in ("v534dim", "v5335dim", "clip")),
    "losses": (
        (f"loss={','.join(LOSSES)}", "seed=1,2,3", "model=clip", "model.captions=2", "loss.scale_init=auto", FIRST[1]),
    ),
    "emoji": ((*EMOJI, "model=clip", "loss=stock"), (*EMOJI, "loss=normsv5")),
    "ten_views": (
        ("model=v534dim", "model.captions=5", "data.batch_size=256", "trainer.max_steps=20", "analysis=off"),
    ),
    "search": (
        (*SEARCH, "optimizer.lr=1e-3,2e-3,4e-3"),
        (*SEARCH, "backbone.translator_norm=pre,post", "backbone.translator_init=fan_in,marian"),
        (*SEARCH, "loss.scale_cap=5,20,100"),
        *((*SEARCH, *change) for change in OTHERS),
    ),
}


def command(part: str, arguments: Sequence[str], folder: Path) -> list[str]:
    """Returns the command of a sweep in the part's folder."""
    return ["train.py", "-m", *arguments, *QUIET, f"hydra.sweep.dir={folder / part}"]


def measure(part: str, folder: Path) -> None:
    """Runs the missing jobs of a part, then prints its tables."""
    for arguments in PARTS[part]:
        line = command(part, arguments, folder)
        print(f"\n$ python {shlex.join(line)}", file=sys.stderr)
        ended = subprocess.run([sys.executable, *line], cwd=ROOT, stdout=sys.stderr)
        # Exit code 1 counts every failed job of the folder, also an interrupted job of a later command.
        if ended.returncode not in (0, 1):
            ended.check_returncode()
    ended.check_returncode()
    print(f"\n## {part}\n")
    print((folder / part / "comparison.md").read_text(encoding="utf-8"))
    print(by_job(folder / part))


def by_job(sweep: Path) -> str:
    """Returns a table with one row for each job and split."""
    lines = [
        f"| job | split | {' | '.join(RECALLS)} | s | ms a step | MiB |",
        "|---|---|" + "---:|" * (len(RECALLS) + 3),
    ]
    recalls: list[float] = []
    for path in sorted(sweep.glob("*/summary.json")):
        body = json.loads(path.read_text(encoding="utf-8"))
        metrics = body.get("metrics", {})
        for split in dict.fromkeys(key.partition("/")[0] for key in metrics if key.endswith("/recall@1")):
            figures = [f"{metrics[f'{split}/{name}']:.3f}" for name in RECALLS]
            costs = [f"{body['seconds']:.0f}", f"{1000 * body['step_seconds']:.0f}", f"{body['peak_memory_mib']:.0f}"]
            lines.append(f"| {path.parent.name} | {split} | {' | '.join([*figures, *costs])} |")
        recalls += [metrics["val/recall@1"]] if "val/recall@1" in metrics else []
    if recalls:
        lines += [
            "",
            f"val recall@1 over {len(recalls)} jobs: mean {statistics.fmean(recalls):.3f}, lowest {min(recalls):.3f}",
        ]
    return "\n".join(lines)


def draw(folder: Path) -> None:
    """Draws nway.png from the run of the first command with seed 0, and copies sweep.png from the sweep of losses."""
    (run,) = (folder / "first").glob("*_seed0_*")
    subprocess.run([sys.executable, "docs/draw_nway.py", str(run / "metrics.csv")], cwd=ROOT, check=True)
    (ROOT / "docs" / "sweep.png").write_bytes((folder / "losses" / "comparison.png").read_bytes())
    print(f"docs/report.png is a picture of {run / 'report' / 'index.html'}", file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    """Measures the parts. Exit codes: 0 success, 2 an unknown part."""
    if "--list" in arguments:
        for part, sweeps in PARTS.items():
            print(
                part, *(f"  python {shlex.join(command(part, sweep, Path('<folder>')))}" for sweep in sweeps), sep="\n"
            )
        return 0
    unknown = [part for part in arguments[1:] if part not in PARTS]
    if not arguments or unknown:
        print(
            f"{' '.join(unknown) or 'no folder'} is not a part; allowed: <folder> [{' | '.join(PARTS)}]",
            file=sys.stderr,
        )
        return 2
    folder = Path(arguments[0]).resolve()
    for part in arguments[1:] or PARTS:
        measure(part, folder)
    if not arguments[1:]:
        draw(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
