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
    "model/report/callbacks.py", "model/report/callback_loggers.py",
)  # fmt: skip
HYDRA = ("model/config/", "model/report/sweep.py")
OMEGACONF = (*HYDRA, "model/report/run_files.py", "model/report/page.py")  # read and show the configurations of finished runs
# What a part may import beside the standard library and this project.
ALLOWED = {
    "model/losses/": {"torch"},
    "model/health/stats.py": {"torch"},
    "model/health/policy.py": {"torch"},
    "model/health/monitor.py": {"torch"},
    "model/report/plots": {"matplotlib", "numpy", "PIL"},
    "model/report/compare": {"matplotlib", "numpy"},
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


def test_losses_and_the_monitor_know_nothing_of_the_trainer():
    inner = ("model/losses/", "model/health/stats.py", "model/health/policy.py", "model/health/monitor.py")
    for file in FILES:
        text = (ROOT / file).read_text(encoding="utf-8")
        if file.startswith(inner):
            assert not [name for name in ("model.config", "model.module", "model.run", "model.data", "model.report") if f"from {name}" in text], file
