"""The C++ of a symbol: statements for its value and for its derivatives."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from model.losses.symbols import Symbol

# A factor and the C++ that it multiplies.
Term = tuple[float, str]


def _literal(value: object) -> str:
    return {float("inf"): "HUGE_VAL", float("-inf"): "-HUGE_VAL"}.get(value, f"T({value!r})")


# What the C++ below calls, beside <cmath> and, each kernel's own, near_inverse_root(x), about 1 / sqrt(x), with which
# root(x, near) makes sqrt(x) and slope(x, near) makes 2 / sqrt(x).
HELPERS = """
template <int N, class X> static inline X raised(X a) {
    if constexpr (N == 1) return a;
    else if constexpr (N % 2) return raised<N - 1>(a) * a;
    else { const X half = raised<N / 2>(a); return half * half; }
}
template <class X> static inline X sign(X a) { return a > 0 ? X{} + 1 : a < 0 ? X{} - 1 : X{}; }
template <class X> static inline X reciprocal(X a) { return 1 / a; }
"""

# Operation -> value and, for each argument, the share of the result's derivative `d`, as C++ with a, b the arguments,
# t the result, i an auxiliary value and p, q the data. `_factor` is a factor of the share beside it.
VALUES = {
    "add": "a + b",
    "sub": "a - b",
    "mul": "a * b",
    "div": "a * i",
    "clamp": "a < p ? p : a > q ? q : a",
    "abs": "fabs(a)",
    "raise": "raised<p>(a)",
    "scale": "a * p",
    "sqrt": "root(a, i)",
    "power": "std::pow(std::fabs(a), p)",
}
AUXILIARY = {"div": "reciprocal(b)", "sqrt": "near_inverse_root(a)"}
SHARES = {
    "add": ("d", "d"),
    "sub": ("d", "d"),
    "mul": ("d * b", "d * a"),
    "div": ("d * i", "-d * t * i"),
    "clamp": ("a < p || a > q ? T(0) : d",),
    "abs": ("d * sign(a)",),
    "raise": ("d * raised<p - 1>(a)",),
    "scale": ("d",),
    "sqrt": ("d * slope(a, i)",),
    "power": ("a == 0 ? T(0) : d * p * t / a",),
}


class Program:
    """C++ statements for one symbol: `value` declares its value as `result`; `derivatives` declares d_<input> from
    `seed`.

    Of several symbols the values are `result0`, `result1`, … and the seeds `seed0`, `seed1`, ….
    """

    def __init__(self, results: Symbol | Sequence[Symbol], inputs: Sequence[Symbol]):
        single = isinstance(results, Symbol)
        self.results = {"": results} if single else {str(k): result for k, result in enumerate(results)}
        self.order: list[Symbol] = []
        seen: set[int] = set()
        for result in self.results.values():
            self._visit(result, seen)
        self.names = {
            id(symbol): str(symbol.data[0]) if symbol.operation == "input" else f"t{k}"
            for k, symbol in enumerate(self.order)
        }
        self.inputs = inputs

    def _visit(self, symbol: Symbol, seen: set[int]) -> None:
        if id(symbol) not in seen:
            seen.add(id(symbol))
            for argument in symbol.arguments:
                self._visit(argument, seen)
            self.order.append(symbol)

    def _fill(self, template: str, symbol: Symbol) -> str:
        words = {name: self.names[id(argument)] for name, argument in zip("ab", symbol.arguments, strict=False)}
        words |= {
            name: str(value) if symbol.operation == "raise" else _literal(value)
            for name, value in zip("pq", symbol.data, strict=False)
        }
        own = self.names[id(symbol)]
        words |= {"t": own, "i": f"i_{own}", "d": f"d_{own}"}
        return "".join(words.get(word, word) for word in _words(template))

    def auxiliaries(self) -> list[str]:
        """Names of the roots and quotients among the intermediate values, which take longer to make than to keep."""
        return [f"i_{self.names[id(symbol)]}" for symbol in self.order if symbol.operation in AUXILIARY]

    def value(self, kept: bool = False) -> str:
        """Declares every intermediate value, and the results. kept: the `auxiliaries` are declared already."""
        lines = []
        for symbol in self.order:
            own = self.names[id(symbol)]
            if symbol.operation == "constant":
                lines.append(f"const auto {own} = {_literal(symbol.data[0])};")
            elif symbol.operation in VALUES:
                if symbol.operation in AUXILIARY and not kept:
                    lines.append(f"const auto i_{own} = {self._fill(AUXILIARY[symbol.operation], symbol)};")
                lines.append(f"const auto {own} = {self._fill(VALUES[symbol.operation], symbol)};")
        lines += [f"const auto result{k} = {self.names[id(result)]};" for k, result in self.results.items()]
        return "\n".join(lines)

    def derivatives(self) -> str:
        """After `value`: declares d_<name> for every input, the derivative of the results times their seeds, added
        up.
        """
        return self._back(
            lambda factor, code: (1.0, f"{code} * {_literal(factor)}") if factor != 1 else (factor, code)
        )[0]

    def unscaled_derivatives(self) -> tuple[str, dict[Symbol, float]]:
        """The same but for a constant factor of each, which the caller applies where that costs nothing."""
        return self._back(lambda factor, code: (factor, code))

    def _back(self, scaled: Callable[[float, str], Term]) -> tuple[str, dict[Symbol, float]]:
        terms: dict[Symbol, list[Term]] = {symbol: [] for symbol in (*self.order, *self.inputs)}
        for k, result in self.results.items():
            terms[result].append((1.0, f"seed{k}"))
        lines, factors = [], {}
        for symbol in reversed(self.order):
            if symbol.operation == "constant":
                continue
            factors[symbol], code = _sum(terms[symbol])
            lines.append(f"const auto d_{self.names[id(symbol)]} = {code};")
            for k, (argument, share) in enumerate(zip(symbol.arguments, SHARES.get(symbol.operation, ()), strict=True)):
                factor, term = scaled(_factor(symbol, k), f"({self._fill(share, symbol)})")
                terms[argument].append((factors[symbol] * factor, term))
        return "\n".join(lines), factors

    def uses(self, symbol: Symbol) -> bool:
        """Whether a result depends on an input."""
        return id(symbol) in self.names


def _factor(symbol: Symbol, argument: int) -> float:
    """What the share of an argument leaves out."""
    if symbol.operation in ("raise", "scale"):
        return float(symbol.data[0])
    return {("sub", 1): -1.0, ("sqrt", 0): 0.25}.get((symbol.operation, argument), 1.0)


def _sum(terms: Sequence[Term]) -> Term:
    """A sum with a factor in front, if all its terms have the same."""
    if len({factor for factor, _ in terms}) == 1:
        return terms[0][0], " + ".join(code for _, code in terms)
    return 1.0, " + ".join(f"{code} * {_literal(factor)}" for factor, code in terms)


def _words(template: str) -> list[str]:
    """Splits C++ into identifiers and what is between them."""
    return re.findall(r"[A-Za-z_:]+|[^A-Za-z_:]+", template)
