"""loss.function: its spelling `package.module:name`, the file that defines it, and the function itself.

A composed configuration holds the spelling and the digest of the file, which is found without importing it. The module
is imported only when a run is built.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.hydra_config import HydraConfig

from model.errors import ConfigError, first_line, not_known, require
from model.loss_options import OWN

KEY = "loss.function"
FORM = "package.module:name of a function"
# The digest of the source that a module of sys.modules was executed from.
DIGEST = "__source_digest__"


def check_function(name: str, function: str | None) -> None:
    """Raises ConfigError unless loss=own names a function, in the form package.module:name, and other losses name none.

    name: the value of loss.name.
    """
    if name != OWN:
        problem = f"means nothing with loss={name}"
        require(function is None, KEY, function, problem, f"{KEY}=null, or loss={OWN}")
    elif function is None:
        raise ConfigError(f"{KEY}=null names no function for loss={OWN}; allowed: {FORM}")
    else:
        require(is_spelled(function), KEY, function, "cannot be read", FORM)


def is_spelled(function: str) -> bool:
    """Returns whether the text has the form package.module:name."""
    module, _, name = function.partition(":")
    return name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def source_digest(function: object) -> str | None:
    """Returns 12 hexadecimal digits of the SHA-256 of the file that defines a function; None where no file is found.

    The module is not imported. The digest does not depend on what the module imports.
    """
    if not isinstance(function, str) or not is_spelled(function):
        return None
    spec = find_module(function.partition(":")[0])
    try:
        return None if spec is None else digest_of(Path(str(spec.origin)).read_bytes())
    except OSError:
        return None


def digest_of(source: bytes) -> str:
    """Returns 12 hexadecimal digits of the SHA-256 of a file's content."""
    return hashlib.sha256(source).hexdigest()[:12]


def launch_folder() -> str:
    """Returns the folder in which the command was started, also after hydra.job.chdir=true has changed the folder."""
    if HydraConfig.initialized() and HydraConfig.get().job.chdir:
        return str(HydraConfig.get().runtime.cwd)
    return os.getcwd()


def find_module(name: str) -> ModuleSpec | None:
    """Returns the spec of a module, without importing it or its packages; None where no file defines it.

    Searches Python's own path first, then the folder in which the command was started.
    """
    parts = name.split(".")
    PathFinder.invalidate_caches()
    spec = find_below(parts[0], None) or PathFinder.find_spec(parts[0], [launch_folder()])
    for count in range(2, len(parts) + 1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = find_below(".".join(parts[:count]), spec.submodule_search_locations)
    return spec if spec is not None and spec.has_location else None


def find_below(name: str, folders: Sequence[str] | None) -> ModuleSpec | None:
    """Returns the spec of a module from the first of Python's finders that has one. folders: None means sys.path."""
    specs = (finder.find_spec(name, folders) for finder in sys.meta_path if hasattr(finder, "find_spec"))
    try:
        return next((spec for spec in specs if spec is not None), None)
    except KeyError:  # a folder without __init__.py in a package that is not imported: Python asks for the package
        return PathFinder.find_spec(name.rpartition(".")[2], folders)


def load_function(function: str, digest: str | None) -> Callable[..., Any]:
    """Imports and returns the function.

    digest: the result of `source_digest` when the run was composed. Raises ConfigError if the module is not found or
    cannot be imported, if its file has been edited since, and if the name is missing or cannot be called.
    """
    module_name, _, name = function.partition(":")
    if digest is None:
        allowed = f"a module on PYTHONPATH or in {launch_folder()}"
        raise ConfigError(f"{KEY}={function}: there is no module {module_name}; allowed: {allowed}")
    module = imported(function, digest)
    if not hasattr(module, name):
        defined = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module_name]
        raise not_known(KEY, function, [f"{module_name}:{key}" for key in defined] or [f"a name in {module.__file__}"])
    value = getattr(module, name)
    require(callable(value), KEY, function, f"is a {type(value).__name__}", "a function")
    return value


def imported(function: str, digest: str) -> ModuleType:
    """Returns the module of the function, executed from the source with this digest."""
    name = function.partition(":")[0]
    module = sys.modules.get(name)
    if module is not None and getattr(module, DIGEST, None) == digest:
        return module
    require(source_digest(function) == digest, KEY, function, "was edited while the run started", "the command again")
    try:
        return import_source(name)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(f"{KEY}={function} cannot be imported ({reason}); allowed: a module that imports") from error


def import_source(name: str) -> ModuleType:
    """Imports a module. Executes it again if its file has changed since an earlier job of this process imported it.

    A module that other code has imported is returned unchanged.
    """
    if launch_folder() not in sys.path:
        sys.path.append(launch_folder())
    if "." in name:
        importlib.import_module(name.rpartition(".")[0])
    spec, module = find_module(name), sys.modules.get(name)
    if spec is None or not isinstance(spec.loader, SourceFileLoader) or (module and not hasattr(module, DIGEST)):
        return importlib.import_module(name)
    path = str(spec.origin)
    source = Path(path).read_bytes()
    module = sys.modules[name] = module_from_spec(spec)
    try:
        exec(compile(source, path, "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    setattr(module, DIGEST, digest_of(source))
    return module
