"""Dependencies point inwards: which packages each part may import, so that it can be lifted out and used elsewhere."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "model").rglob("*.py"))
# Where Lightning and Hydra may be seen; a folder ends with a slash.
LIGHTNING = (
    "model/run.py", "model/session.py", "model/module.py", "model/data/module.py", "model/checkpoint/",
    "model/analysis/callbacks.py", "model/health/callback.py", "model/health/view_callback.py",
    "model/record/callbacks.py", "model/loggers.py",
)  # fmt: skip
HYDRA = ("model/config/", "model/sweep/callback.py", "model/command.py", "model/job.py")
OMEGACONF = (
    *HYDRA,
    "model/report/run_files.py",
    "model/report/page.py",
)  # read and show the configurations of finished runs
# What a part may import beside the standard library and this project.
ALLOWED = {
    "model/losses/": {"torch"},
    "model/health/stats.py": {"torch"},
    "model/health/policy.py": {"torch"},
    "model/health/step.py": {"torch"},
    "model/health/monitor.py": {"torch"},
    "model/training/": {"torch"},
    "model/report/plots": {"matplotlib", "numpy", "PIL"},
    "model/report/sweep_plot": {"matplotlib", "numpy"},
    "model/report/sweep_text": {"numpy"},
}

# Files that belong together without a folder of their own.
ROOMS = {
    "base": {
        f"model/{name}.py"
        for name in (
            "command_line",
            "errors",
            "distributed",
            "imports",
            "interruption",
            "launch",
            "loss_options",
            "memory",
            "metric_names",
            "side_process",
            "slurm",
            "steps",
            "user_cache",
        )
    },
    "losses/ground": {
        f"model/losses/{name}.py"
        for name in ("score", "cross_terms", "integrands", "numerics", "symbols", "inputs", "registry")
    },
}
# Room -> the rooms that it may import. The rooms stand in the order of their floors: a room imports only rooms above it
# in this table.
ARROWS: dict[str, set[str]] = {
    "base": set(),
    "losses/ground": set(),
    "losses/compiled": {"base", "losses/ground"},
    "losses/inductor": {"losses/compiled", "losses/ground"},
    "losses/evaluation": {"base", "losses/compiled", "losses/ground", "losses/inductor"},
    "losses/formulas": {"base", "losses/compiled", "losses/evaluation", "losses/ground"},
    "losses/objective": {"base", "losses/evaluation", "losses/formulas", "losses/ground"},
    "record": {"base"},
    "views": {"base"},
    "health": {"base", "losses/objective", "record", "views"},
    "config": {"base", "health", "record", "views"},
    "data": {"base", "config", "record", "views"},
    "analysis": {"base", "data", "losses/objective", "record", "views"},
    "losses": {"base", "losses/compiled", "losses/evaluation", "losses/formulas", "losses/ground", "losses/objective"},
    "optim": {"base", "config"},
    "checkpoint": {"base", "config", "record"},
    "training": {"base", "config", "losses/objective", "optim", "views"},
    "module": {"analysis", "base", "config", "data", "losses/objective", "optim", "training", "views"},
    "initial": {"base", "checkpoint", "config", "data", "record", "training", "views"},
    "build": {"base", "config", "data", "initial", "losses", "module", "record", "training", "views"},
    "trained": {"base", "checkpoint", "config", "data", "losses", "losses/objective", "record", "views"},
    "export": {"base", "data", "record", "trained", "views"},
    "embed": {"base", "config", "data", "record", "trained"},
    "search": {"base", "data", "record", "trained"},
    "loggers": {"base", "config", "record"},
    "report": {"base", "config", "data", "record"},
    "failures": {"base", "config", "loggers", "record", "report"},
    "session": {"analysis", "base", "build", "checkpoint", "config", "health", "loggers", "record"},
    "ending": {
        "analysis",
        "base",
        "checkpoint",
        "config",
        "data",
        "failures",
        "loggers",
        "record",
        "report",
        "session",
        "views",
    },
    "run": {"base", "build", "checkpoint", "config", "data", "ending", "failures", "record", "session"},
    "sweep": {"base", "checkpoint", "config", "record", "report"},
    "job": {"base", "config", "record", "run", "sweep"},
    "command": {"base", "config", "job", "record", "report", "sweep"},
    "__init__": {"trained"},
    "legacy": {
        "base",
        "config",
        "health",
        "losses",
        "losses/formulas",
        "losses/ground",
        "losses/objective",
        "optim",
        "report",
        "views",
    },
}


def packages(file: str) -> set[str]:
    """Top-level names of everything that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("file", FILES)
def test_what_a_file_imports(file):
    foreign = packages(file) - set(sys.stdlib_module_names) - {"model"}
    assert file.startswith(LIGHTNING) or not foreign & {"pytorch_lightning", "lightning_fabric", "lightning"}
    assert file.startswith(HYDRA) or "hydra" not in foreign
    assert file.startswith(OMEGACONF) or "omegaconf" not in foreign
    for part, allowed in ALLOWED.items():
        assert not file.startswith(part) or foreign <= allowed


@pytest.mark.parametrize("file", FILES)
def test_which_rooms_a_file_imports(file):
    foreign = {room_of(name) for name in imported_files(file)} - {room_of(file)}
    assert foreign <= ARROWS[room_of(file)]


def test_no_arrow_of_the_table_points_upwards():
    floor = {room: number for number, room in enumerate(ARROWS)}
    assert [(room, below) for room, arrows in ARROWS.items() for below in arrows if floor[below] >= floor[room]] == []


def test_every_arrow_of_the_table_is_needed():
    used = {(room_of(file), room_of(name)) for file in FILES for name in imported_files(file)}
    assert [
        (room, below) for room, arrows in ARROWS.items() for below in sorted(arrows) if (room, below) not in used
    ] == []


def room_of(file: str) -> str:
    """The room of a file: the one that ROOMS names, else its folder; for a file of model/ itself, its name."""
    named = next((room for room, files in ROOMS.items() if file in files), None)
    folder = str(Path(file).parent).removeprefix("model").lstrip("/")
    return named or folder or Path(file).stem


def imported_files(file: str) -> set[str]:
    """The files of this project that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {file_of(f"{node.module}.{name.name}") or file_of(node.module) for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {file_of(name.name) for name in node.names}
    return found - {None}


def file_of(module: str) -> str | None:
    """The file of a module of this project; None for other names."""
    path = module.replace(".", "/")
    return next((file for file in (f"{path}.py", f"{path}/__init__.py") if file in FILES), None)
