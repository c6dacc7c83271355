"""Reads Python: what a name was given, and of which Qt class an expression is.

Nothing is run. A name's values are all that the file assigns to it; a loop over a literal is taken row by row, so that
``for button, slot in ((ui.a, f), (ui.b, g)): button.connect("clicked()", slot)`` is understood.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

PYTHON = "python"
"""Stands for a class that is not Qt's."""

Row = Mapping[str, ast.expr]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
QT_CLASS = re.compile(r"\b(?:qt|ctk)\.(\w+)|\bslicer\.(q\w+)")

# What Slicer hands out, and what methods of widgets return.
KNOWN = {
    "slicer.app": "qSlicerApplicationSignals",
    "slicer.app.layoutManager()": "qMRMLLayoutManager",
    "slicer.app.moduleManager()": "qSlicerModuleManager",
    "slicer.util.mainWindow()": "qSlicerMainWindow",
    "qt.QApplication.clipboard()": "QClipboard",
    "qt.QSettings()": "QSettings",
}
RETURNS = {
    "clipboard": "QClipboard",
    "horizontalHeader": "QHeaderView",
    "lineEdit": "QLineEdit",
    "selectionModel": "QItemSelectionModel",
    "settings": "QSettings",
    "verticalHeader": "QHeaderView",
}
SIGNALLERS_ONLY = frozenset({"qSlicerApplicationSignals"})
"""Stand-ins that list signals but not the other names of what they stand for."""


class Module:
    """One Python file.

    Args:
        name: what violations call it.
        text: its source.
        ui_classes: object name in a .ui file -> class.
    """

    def __init__(self, name: str, text: str, ui_classes: Mapping[str, str]) -> None:
        self.name, self.tree, self.ui_classes = name, ast.parse(text), ui_classes
        self._parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self._values: dict[tuple[ast.AST | None, str], list[ast.expr]] = defaultdict(list)
        self._annotations: dict[tuple[ast.AST | None, str], list[ast.expr]] = defaultdict(list)
        functions = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]
        self._functions = {node.name: node for node in functions}
        self._returns = {node.name: node.returns for node in functions if node.returns is not None}
        self._classes = {node.name for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)}
        self._calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        for node in ast.walk(self.tree):
            self._bind(node)

    def parents(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node lies in, from the inside out."""
        while node in self._parents:
            node = self._parents[node]
            yield node

    def within(self, node: ast.AST, kinds: type | tuple[type, ...]) -> ast.AST | None:
        """The innermost node of a kind that a node lies in."""
        return next((parent for parent in self.parents(node) if isinstance(parent, kinds)), None)

    def nodes(self, *kinds: type) -> Iterator[Any]:
        """All nodes of some kinds."""
        return (node for node in ast.walk(self.tree) if isinstance(node, kinds))

    def rows(self, node: ast.AST) -> list[Row]:
        """The values of loop variables at a node, one entry for each turn of the loops over literals around it."""
        loops: list[list[Row]] = []
        for parent in self.parents(node):
            if isinstance(parent, ast.For) and not _holds(parent.iter, node):
                loops.append(self._turns(parent.target, parent.iter))
            elif isinstance(parent, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
                loops += [self._turns(part.target, part.iter) for part in parent.generators]
        merged: list[Row] = []
        for turns in itertools.product(*reversed(loops)):
            row: dict[str, ast.expr] = {}
            for turn in turns:
                row.update(turn)
            merged.append(row)
        return merged

    def values(self, node: ast.expr, row: Row) -> list[ast.expr]:
        """What a name or an attribute of self was given; the node itself for everything else."""
        if isinstance(node, ast.Name) and node.id in row:
            return self.values(row[node.id], {})
        found = self._look_up(self._values, node)
        return found or [node]

    def classes(  # noqa: PLR0911 - one kind of expression after the other
        self, node: ast.expr, row: Row, seen: frozenset[ast.AST] = frozenset()
    ) -> set[str]:
        """Classes an expression may be of: Qt's, CTK's, Slicer's, or PYTHON; empty where nothing is known."""
        if node in seen:
            return set()
        seen = seen | {node}
        if isinstance(node, ast.Name) and node.id in row:
            return self.classes(row[node.id], {}, seen)
        if isinstance(node, ast.IfExp | ast.BoolOp):
            parts = [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values
            return set().union(*(self.classes(part, row, seen) for part in parts))
        known = KNOWN.get(ast.unparse(node)) or self.ui_classes.get(ui_name(node, row) or "")
        if known:
            return {known}
        if isinstance(node, ast.Call):
            return self._classes_of_call(node)
        if isinstance(node, ast.Constant):
            return set() if node.value is None else {PYTHON}
        if isinstance(node, ast.JoinedStr | ast.List | ast.Tuple | ast.Dict | ast.Set | ast.ListComp | ast.Compare):
            return {PYTHON}
        if isinstance(node, ast.Name) and node.id in {*self._classes, "cls"}:
            return {PYTHON}
        annotated = [self._class_of_annotation(found) for found in self._look_up(self._annotations, node)]
        if any(annotated):
            return set().union(*annotated)
        return set().union(*(self.classes(value, {}, seen) for value in self._look_up(self._values, node)))

    def passed(self, node: ast.Name) -> list[ast.expr]:
        """What the file's own calls pass for a parameter; empty for other names."""
        function = self.within(node, FUNCTIONS)
        if not isinstance(function, ast.FunctionDef):
            return []
        names = [argument.arg for argument in function.args.args if argument.arg not in {"self", "cls"}]
        if node.id not in names:
            return []
        calls = [call for call in self._calls if last_name(call.func) == function.name]
        place = names.index(node.id)
        found = [call.args[place] for call in calls if place < len(call.args)]
        return found + [item.value for call in calls for item in call.keywords if item.arg == node.id]

    def returned(self, node: ast.Call) -> list[ast.expr]:
        """What a function of this file returns to a call of it; empty for other functions."""
        name = last_name(node.func)
        function = self._functions.get(name)
        if function is None or ast.unparse(node.func) not in {name, f"self.{name}"}:
            return []
        found = [item.value for item in ast.walk(function) if isinstance(item, ast.Return | ast.Yield)]
        return [value for value in found if value is not None]

    def annotations(self, node: ast.expr) -> list[str]:
        """The annotations of a name, an argument or an attribute of self."""
        return [ast.unparse(found).strip("'\"") for found in self._look_up(self._annotations, node)]

    def _classes_of_call(self, node: ast.Call) -> set[str]:
        text = ast.unparse(node.func)
        found = QT_CLASS.fullmatch(text)
        if found:
            return {found[1] or found[2]}
        if text == "super":
            return {PYTHON}
        name = text.rsplit(".", maxsplit=1)[-1]
        if name in self._returns and text in (name, f"self.{name}"):
            return self._class_of_annotation(self._returns[name])
        if isinstance(node.func, ast.Attribute) and name in RETURNS:
            return {RETURNS[name]}
        is_class = name[:1].isupper() and isinstance(node.func, ast.Name)
        return {PYTHON} if is_class or name in {"str", "int", "list", "dict", "len", "bytes", "float", "set"} else set()

    def _class_of_annotation(self, node: ast.expr) -> set[str]:
        text = ast.unparse(node)
        found = {first or second for first, second in QT_CLASS.findall(text)}
        return found or (set() if text.strip("'\"") in {"Any", "object", "None"} else {PYTHON})

    def _turns(self, target: ast.expr, source: ast.expr) -> list[Row]:
        for value in self.values(source, {}):
            items: list[ast.expr] = []
            if isinstance(value, ast.Tuple | ast.List | ast.Set):
                items = [item for item in value.elts if not isinstance(item, ast.Starred)]
            elif isinstance(value, ast.Dict):
                items = [key for key in value.keys if key is not None]
            elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and not value.args:
                for whole in self.values(value.func.value, {}):
                    if isinstance(whole, ast.Dict) and value.func.attr == "items":
                        pairs = zip(whole.keys, whole.values, strict=True)
                        items = [ast.Tuple([key, item], ast.Load()) for key, item in pairs if key is not None]
                    elif isinstance(whole, ast.Dict) and value.func.attr == "values":
                        items = whole.values
            if items:
                return [dict(_unpack(target, item)) for item in items]
        return [{}]

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name, value in _targets(target, node.value):
                    self._values[self._key(name)].append(value)
        elif isinstance(node, ast.AnnAssign):
            self._annotations[self._key(node.target)].append(node.annotation)
            if node.value is not None:
                self._values[self._key(node.target)].append(node.value)
        elif isinstance(node, ast.NamedExpr | ast.AugAssign):
            self._values[self._key(node.target)].append(node.value)
        elif isinstance(node, ast.arg) and node.annotation is not None:
            function = self.within(node, FUNCTIONS)
            self._annotations[(function, node.arg)].append(node.annotation)

    def _key(self, node: ast.expr) -> tuple[ast.AST | None, str]:
        text = ast.unparse(node)
        return (self.within(node, ast.ClassDef if text.startswith("self.") else FUNCTIONS), text)

    def _look_up(self, table: dict[tuple[ast.AST | None, str], list[ast.expr]], node: ast.expr) -> list[ast.expr]:
        if not isinstance(node, ast.Name | ast.Attribute):
            return []
        text = ast.unparse(node)
        for scope in (*self.parents(node), None):
            if scope is None or isinstance(scope, (*FUNCTIONS, ast.ClassDef)):
                if table.get((scope, text)):
                    return table[(scope, text)]
        return []


def ui_name(node: ast.AST, row: Row | None = None) -> str | None:
    """The object name in ``ui.name``, ``self.ui.name``, ``self._ui.name`` or ``getattr(ui, "name")``."""
    if isinstance(node, ast.Attribute) and _is_ui(node.value):
        return node.attr
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and len(node.args) > 1:
        if not _is_ui(node.args[0]):
            return None
        name = node.args[1]
        if isinstance(name, ast.Name):
            name = (row or {}).get(name.id, name)
        return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None
    return None


def last_name(node: ast.expr) -> str:
    """The last identifier of an expression."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def root_name(node: ast.expr) -> str:
    """The first identifier of a chain of attributes, calls and subscripts."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", "")


def _is_ui(node: ast.expr) -> bool:
    return last_name(node) in {"ui", "_ui"} and isinstance(node, ast.Attribute | ast.Name)


def _holds(node: ast.AST, wanted: ast.AST) -> bool:
    return any(child is wanted for child in ast.walk(node))


def _targets(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The (target, value) pairs of an assignment, tuples taken apart where both sides are literal tuples."""
    if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        if len(target.elts) == len(value.elts):
            for part, item in zip(target.elts, value.elts, strict=True):
                yield from _targets(part, item)
    elif isinstance(target, ast.Name | ast.Attribute):
        yield target, value


def _unpack(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    for part, item in _targets(target, value):
        if isinstance(part, ast.Name):
            yield part.id, item
