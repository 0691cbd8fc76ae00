"""Messages for invalid input, all in one form: ``key=value is not …; allowed: …``, with the nearest choice if any."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class ConfigError(ValueError):
    """An invalid configuration value. The text names the key, the value and what is allowed, in at most two lines."""

    key_and_value: tuple[str, str] | None = None
    """The key and the value that the user has given, for a value that is not among the choices."""


class LossFunctionError(ValueError):
    """A user's loss function has returned something else than the scores of its tuples. The text, one line, names the
    function, what it has returned and what is accepted.
    """


class RunFailed(RuntimeError):
    """A run has started and cannot continue, for a known reason. The text, at most two lines, explains the reason
    without a traceback.
    """


def failure_reason(error: BaseException) -> str:
    """Returns the reason for summary.json. The second line of RunFailed is advice for the command line: left out."""
    return str(error).partition("\n")[0] if isinstance(error, RunFailed) else f"{type(error).__name__}: {error}"


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's text, or the name of its class where it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def not_known(key: str, value: object, allowed: Sequence[object]) -> ConfigError:
    """Returns the error for a value outside a list of choices; adds "did you mean" when a choice is similar."""
    names = [str(choice) for choice in allowed]
    near = get_close_matches(str(value), names, n=1)
    hint = f"\ndid you mean {key}={near[0]}?" if near else ""
    error = ConfigError(f"{key}={value} is not known; allowed: {', '.join(names)}{hint}")
    error.key_and_value = (key, str(value))
    return error


def one_of(key: str, value: object, allowed: Sequence[object]) -> None:
    """Raises ConfigError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise not_known(key, value, allowed)


def require(condition: bool, key: str, value: object, problem: str, allowed: str) -> None:
    """Raises ConfigError ``key=value <problem>; allowed: <allowed>`` unless `condition` holds."""
    if not condition:
        raise ConfigError(f"{key}={value} {problem}; allowed: {allowed}")


def at_least(key: str, value: float, minimum: float) -> None:
    """Raises ConfigError when `value` is below `minimum` (or is NaN)."""
    require(value >= minimum, key, value, "is too small", f"{minimum} or more")


def within(key: str, value: float, least: float, most: float) -> None:
    """Raises ConfigError when `value` is below `least` or above `most` (or is NaN)."""
    require(
        least <= value <= most,
        key,
        value,
        "is too small" if value < least else "is too large",
        f"{least:.15g} to {most:.15g}",
    )


def positive(key: str, value: float) -> None:
    """Raises ConfigError when `value` is not above 0 (or is NaN)."""
    require(value > 0, key, value, "is not positive", "a number above 0")


def fraction(key: str, value: float) -> None:
    """Raises ConfigError when `value` is outside [0, 1) (or is NaN)."""
    require(0 <= value < 1, key, value, "is out of range", "0 up to, not including, 1")
