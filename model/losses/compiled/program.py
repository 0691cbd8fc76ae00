"""Writes C++ statements for the value and the derivatives of a formula of symbols."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from model.losses.symbols import Number, Symbol, in_order

# A factor and the C++ that it multiplies.
Term = tuple[float, str]


def _literal(value: str | Number) -> str:
    infinite: dict[str | Number, str] = {float("inf"): "HUGE_VAL", float("-inf"): "-HUGE_VAL"}
    return infinite.get(value, f"T({value!r})")


# Operation -> C++ of its value, and, for each argument, of the gradient with respect to that argument. In both, a and b
# are the arguments, t the result, d the gradient with respect to the result, i an auxiliary value, p and q the data.
# The gradients leave out a constant, `_factor`. The functions are in functions.hpp, scalar.hpp and vectors.hpp.
VALUES = {
    "tiny": "T(1000) * std::numeric_limits<ELEMENT>::min()",
    "add": "a + b",
    "sub": "a - b",
    "mul": "a * b",
    "div": "a * i",
    "clamp": "a < p ? p : a > q ? q : a",
    "abs": "fabs(a)",
    "raise": "raised<p>(a)",
    "scale": "a * p",
    "sqrt": "root(a, i)",
    "power": "i",
}
AUXILIARY = {"div": "reciprocal(b)", "sqrt": "near_inverse_root(a)", "power": "power(a, p)"}
GRADIENTS = {
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
    """C++ statements for one formula: `value` declares its value as `result`; `derivatives` declares d_<input> from
    `seed`, the gradient with respect to the result.

    A formula of several results has the values `result0`, `result1`, … and the seeds `seed0`, `seed1`, ….
    """

    def __init__(self, results: Symbol | Sequence[Symbol], inputs: Sequence[Symbol]):
        if isinstance(results, Symbol):
            self.results = {"": results}
        else:
            self.results = {str(k): result for k, result in enumerate(results)}
        self.order = in_order(self.results.values())
        self.names = {
            symbol: str(symbol.data[0]) if symbol.operation == "input" else f"t{k}"
            for k, symbol in enumerate(self.order)
        }
        self.inputs = inputs

    def _fill(self, template: str, symbol: Symbol) -> str:
        """Returns a template of the tables above with the names and numbers of a symbol."""
        words = {name: self.names[argument] for name, argument in zip("ab", symbol.arguments, strict=False)}
        words |= {
            name: str(value) if symbol.operation == "raise" else _literal(value)
            for name, value in zip("pq", symbol.data, strict=False)
        }
        own = self.names[symbol]
        words |= {"t": own, "i": f"i_{own}", "d": f"d_{own}"}
        return "".join(words.get(word, word) for word in _words(template))

    def auxiliaries(self) -> list[str]:
        """Returns the names of roots, reciprocals and powers, which take longer to compute than to save."""
        return [f"i_{self.names[symbol]}" for symbol in self.order if symbol.operation in AUXILIARY]

    def value(self, saved: bool = False) -> str:
        """Returns declarations of every intermediate value and of the results. saved: the `auxiliaries` are declared
        already.
        """
        lines = []
        for symbol in self.order:
            own = self.names[symbol]
            if symbol.operation == "constant":
                lines.append(_declared(own, _literal(symbol.data[0])))
            elif symbol.operation in VALUES:
                if symbol.operation in AUXILIARY and not saved:
                    lines.append(_declared(f"i_{own}", self._fill(AUXILIARY[symbol.operation], symbol)))
                lines.append(_declared(own, self._fill(VALUES[symbol.operation], symbol)))
        lines += [_declared(f"result{k}", self.names[result]) for k, result in self.results.items()]
        return "\n".join(lines)

    def derivatives(self) -> str:
        """Returns declarations, to follow those of `value`, of d_<name> for every input: the gradient of the results,
        given their seeds, with respect to it.
        """
        return self._backward(
            lambda factor, code: (1.0, f"{code} * {_literal(factor)}") if factor != 1 else (factor, code)
        )[0]

    def unscaled_derivatives(self) -> tuple[str, dict[Symbol, float]]:
        """Returns the declarations of `derivatives` without a constant factor of each, and these factors, for a caller
        that can apply them at no cost.
        """
        return self._backward(lambda factor, code: (factor, code))

    def _backward(self, scaled: Callable[[float, str], Term]) -> tuple[str, dict[Symbol, float]]:
        terms: dict[Symbol, list[Term]] = {symbol: [] for symbol in (*self.order, *self.inputs)}
        for name, result in self.results.items():
            terms[result].append((1.0, f"seed{name}"))
        lines, factors = [], {}
        for symbol in reversed(self.order):
            if symbol.operation == "constant":
                continue
            factors[symbol], code = _sum(terms[symbol])
            lines.append(_declared(f"d_{self.names[symbol]}", code))
            gradients = GRADIENTS.get(symbol.operation, ())
            for k, (argument, gradient) in enumerate(zip(symbol.arguments, gradients, strict=True)):
                factor, term = scaled(_factor(symbol, k), f"({self._fill(gradient, symbol)})")
                terms[argument].append((factors[symbol] * factor, term))
        return "\n".join(lines), factors

    def uses(self, symbol: Symbol) -> bool:
        """Returns whether a result depends on an input."""
        return symbol in self.names


def _declared(name: str, code: str) -> str:
    """Returns the declaration of a value. Not every kernel reads every value."""
    return f"[[maybe_unused]] const auto {name} = {code};"


def _factor(symbol: Symbol, argument: int) -> float:
    """Returns the constant factor of the gradient with respect to an argument."""
    if symbol.operation in ("raise", "scale"):
        return float(symbol.data[0])
    return {("sub", 1): -1.0, ("sqrt", 0): 0.25}.get((symbol.operation, argument), 1.0)


def _sum(terms: Sequence[Term]) -> Term:
    """Returns a sum, with a factor in front if all its terms have the same factor."""
    if len({factor for factor, _ in terms}) == 1:
        return terms[0][0], " + ".join(code for _, code in terms)
    return 1.0, " + ".join(f"{code} * {_literal(factor)}" for factor, code in terms)


def _words(template: str) -> list[str]:
    """Returns the identifiers of some C++ and the text between them, in order."""
    return re.findall(r"[A-Za-z_:]+|[^A-Za-z_:]+", template)
