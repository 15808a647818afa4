"""``--where``: which poses, as an expression over columns: ``p_bad > 0.3 and state == "open"``.

It is read by Python's own parser and worked out by NumPy over all poses of a part at once. Only what stands in this
file can be said: names of columns, numbers and texts, comparisons, ``and``, ``or``, ``not``, ``in``, arithmetic, and
``matches(column, "*.jpg")``. Nothing is ever executed.
"""

import ast
import difflib
import fnmatch
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ConfigError

_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
}
_MATCHES = "matches"

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Where:
    """An expression that was read and can be asked of columns.

    Attributes:
        text: As it was given.
    """

    text: str
    _tree: ast.expr

    @classmethod
    def parse(cls, text: str, columns: Mapping[str, str]) -> "Where":
        """Read an expression.

        Args:
            text: The expression.
            columns: What may stand in it, with its meaning.

        Raises:
            ConfigError: It is none, or says what cannot be said; names the nearest column.
        """
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError) as error:
            raise _refused(text, f"is no expression: {getattr(error, 'msg', error)}", columns) from error
        for node in ast.walk(tree):
            _require_known(node, text, columns)
        return cls(text, tree)

    def __call__(self, columns: Columns) -> NDArray[np.bool_]:
        """(N,) which of N poses it is true of; a comparison with what is not known is false.

        Raises:
            ConfigError: Things are compared that cannot be, such as a text with a number.
        """
        length = len(next(iter(columns.values())))
        try:
            with np.errstate(invalid="ignore", divide="ignore"):
                found = _value(self._tree, columns)
            return np.broadcast_to(np.asarray(found).astype(bool), (length,))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"cannot be worked out: {error}", subject=self.text) from error


def _require_known(node: ast.AST, text: str, columns: Mapping[str, str]) -> None:
    if isinstance(node, ast.Name) and node.id not in columns and node.id != _MATCHES:
        nearest = difflib.get_close_matches(node.id, columns, n=1)
        raise _refused(text, f"there is no column {node.id!r}", columns, nearest[0] if nearest else "")
    if isinstance(node, ast.Call):
        if not _is_matching(node):
            raise _refused(text, 'the only call is matches(column, "pattern")', columns)
    elif isinstance(node, ast.Compare):
        if len(node.ops) > 1:
            raise _refused(text, "compare two things at a time, and join comparisons with `and`", columns)
        if not isinstance(node.ops[0], (*_COMPARE, ast.In, ast.NotIn)):
            raise _refused(text, "`is` cannot be said here", columns)
    elif not isinstance(node, _SAYABLE):
        raise _refused(text, f"{type(node).__name__.lower()} cannot be said here", columns)


def _is_matching(node: ast.Call) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[_, ast.Constant(value=str())], keywords=[]):
            return name == _MATCHES
        case _:
            return False


_SAYABLE = (
    *(ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, *_ARITHMETIC),
    *(ast.In, ast.NotIn, *_COMPARE),
)


def _value(node: ast.expr, columns: Columns) -> Any:
    match node:
        case ast.Name(id=name):
            return columns[name]
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, columns) for item in items]
        case ast.BoolOp(op=op, values=values):
            combine = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return combine.reduce([_truth(value, columns) for value in values])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return np.logical_not(_truth(operand, columns))
        case ast.UnaryOp(operand=operand):
            return -_value(operand, columns)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_value(left, columns), _value(right, columns))
        case ast.Call(args=[subject, pattern]):
            return _matching(_value(subject, columns), str(_value(pattern, columns)))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _compared(op, _value(left, columns), _value(right, columns))
        case _:
            raise AssertionError(ast.dump(node))


def _truth(node: ast.expr, columns: Columns) -> NDArray[np.bool_]:
    length = len(next(iter(columns.values())))
    return np.broadcast_to(np.asarray(_value(node, columns)).astype(bool), (length,))


def _compared(op: ast.cmpop, left: Any, right: Any) -> Any:
    """A comparison; ``in`` asks whether a text is among texts, or one of a list."""
    if isinstance(op, ast.In | ast.NotIn):
        found = _is_in(left, right)
        return ~found if isinstance(op, ast.NotIn) else found
    return _COMPARE[type(op)](left, right)


def _is_in(left: Any, right: Any) -> NDArray[np.bool_]:
    if isinstance(right, np.ndarray):  # of each pose, a text or several texts
        values = cast("list[str | list[str]]", cast("NDArray[Any]", right).tolist())
        return np.array([str(left) in value for value in values], bool)
    return np.isin(np.asarray(left, object), np.array(right, object))


def _matching(subject: Any, pattern: str) -> NDArray[np.bool_]:
    """Whether texts, or one of several, match a pattern with ``*`` and ``?``."""
    values = cast("list[str | list[str]]", np.asarray(subject, object).tolist())
    several = [[value] if isinstance(value, str) else value for value in values]
    return np.array([any(fnmatch.fnmatchcase(text, pattern) for text in texts) for texts in several], bool)


def _refused(text: str, why: str, columns: Mapping[str, str], nearest: str = "") -> ConfigError:
    did = f"Did you mean {nearest!r}? " if nearest else ""
    return ConfigError(f"--where: {why}", subject=text, remedy=f"{did}Columns: {', '.join(columns)}.")
