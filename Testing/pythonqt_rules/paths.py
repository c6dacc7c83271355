"""Which expressions are pathlib paths."""

from __future__ import annotations

import ast
import re

from .reading import Module, Row, last_name

CLASSES = frozenset({"Path", "PurePath", "PosixPath", "WindowsPath", "PurePosixPath"})
GIVE_PATHS = frozenset(
    {"absolute", "cwd", "expanduser", "home", "joinpath", "relative_to", "resolve", "with_name", "with_suffix"}
)
ANNOTATION = re.compile(r"\b(?:Pure)?Path\b(?!\s*\[)")


def is_path(  # noqa: PLR0911 - one kind of expression after the other
    module: Module, node: ast.expr, row: Row, seen: frozenset[ast.AST] = frozenset()
) -> bool:
    """Whether an expression is a path, as far as can be told."""
    if node in seen:
        return False
    seen = seen | {node}
    if isinstance(node, ast.Call):
        name = last_name(node.func)
        if name in CLASSES:
            return True
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        return (
            name in GIVE_PATHS
            and owner is not None
            and (last_name(owner) in CLASSES or is_path(module, owner, row, seen))
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return is_path(module, node.left, row, seen) or is_path(module, node.right, row, seen)
    if isinstance(node, ast.IfExp):
        return is_path(module, node.body, row, seen) or is_path(module, node.orelse, row, seen)
    if isinstance(node, ast.Attribute) and node.attr == "parent" and is_path(module, node.value, row, seen):
        return True
    if isinstance(node, ast.Name | ast.Attribute):
        if any(ANNOTATION.search(text) for text in module.annotations(node)):
            return True
        return any(value is not node and is_path(module, value, {}, seen) for value in module.values(node, row))
    return False
