"""The rules, each with the name that its violations carry.

PythonQt refuses or mistakes: ``subclass`` (classes derived from Qt's), ``keywords`` (keyword arguments), ``signature``
(signals not named by their C++ signature), ``signal`` (signatures that the sender's class does not have), ``callback``
(functools.partial and lambdas with defaults as slots), ``path`` (pathlib.Path given to Qt), ``api`` (names that a class
does not have; properties that are called).

The .ui file and the code belong together: ``ui-file``, ``ui-name``, ``parameter``.

House rules of the panel: ``text`` (what a user reads goes through ``_()``), ``print``, ``sleep``, ``process-events``,
``message-box``, ``import``, ``torch``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from .paths import is_path
from .qt_names import QtNames
from .reading import PYTHON, SIGNALLERS_ONLY, Module, Row, last_name, root_name, ui_name
from .texts import spoken
from .ui_file import UiFile

RULES = (
    *("subclass", "keywords", "signature", "signal", "callback", "path", "api"),
    *("ui-file", "ui-name", "parameter"),
    *("text", "print", "sleep", "process-events", "message-box", "import", "torch"),
)
SIGNATURE = re.compile(r"[A-Za-z_]\w*\(.*\)")
# Names of what is a Qt object, where its class cannot be told.
LOOKS_LIKE_QT = re.compile(
    r"(button|box|label|table|edit|bar|widget|timer|process|selector|slider|layout|dialog|menu|action)$", re.IGNORECASE
)
CONNECTS = ("connect", "disconnect")
MESSAGE_BOXES = ("qt.QMessageBox", "ctk.ctkMessageBox", "qt.QErrorMessage")
SLICER_LIBRARIES = frozenset({"slicer", "qt", "ctk", "vtk"})
SHELL = "VertebralGrading.py"


@dataclass(frozen=True)
class Violation:
    """One place where a rule is broken."""

    rule: str
    where: str
    text: str

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"{self.rule} is no rule")

    def __str__(self) -> str:
        return f"{self.where}: {self.text} [{self.rule}]"


def check(sources: Mapping[str, str], uis: Mapping[str, str], names: QtNames | None = None) -> list[Violation]:
    """Every broken rule.

    Args:
        sources: file name -> Python source.
        uis: file name -> text of a .ui file.
        names: what classes have; without it the rules ``signal`` and ``api`` are left out.
    """
    found: list[Violation] = []
    files: dict[str, UiFile] = {}
    for name, text in uis.items():
        try:
            files[name] = UiFile(text)
        except ElementTree.ParseError as error:
            found.append(Violation("ui-file", name, f"is no XML: {error}"))
    classes = {key: cls for file in files.values() for key, cls in file.classes.items()}
    modules = [Module(name, text, classes) for name, text in sources.items()]
    for module in modules:
        found += _Checker(module, names, {name for file in files.values() for name in file.names}, uis).violations()
    for name, file in files.items():
        found += _judge_ui(name, file, modules, names)
    return found


class _Checker:
    """Judges one module."""

    def __init__(self, module: Module, names: QtNames | None, ui_names: set[str], uis: Mapping[str, str]) -> None:
        self.module, self.names, self.ui_names = module, names, ui_names
        self.ui_files = {PurePosixPath(name).name for name in uis}

    def violations(self) -> list[Violation]:
        found: dict[tuple[str, int, str], Violation] = {}
        for node in ast.walk(self.module.tree):
            judges = _JUDGES.get(type(node), ())
            for row in self.module.rows(node) if judges else ():
                for judge in judges:
                    for rule, text in judge(self, node, row):
                        line = getattr(node, "lineno", 0)
                        found[(rule, line, text)] = Violation(rule, f"{self.module.name}:{line}", text)
        return list(found.values())

    def qt_classes(self, node: ast.expr, row: Row) -> set[str]:
        """The Qt classes of an expression, less those of Python."""
        return self.module.classes(node, row) - {PYTHON}

    def is_qt(self, node: ast.expr, row: Row) -> bool:
        """Whether an expression is a Qt object, as far as can be told."""
        found = self.module.classes(node, row)
        if found:
            return found != {PYTHON}
        return root_name(node) in {"qt", "ctk"} or bool(LOOKS_LIKE_QT.search(last_name(node)))

    def judge_class(self, node: ast.ClassDef, row: Row) -> Iterator[tuple[str, str]]:
        for base in node.bases:
            text = ast.unparse(base)
            if re.match(r"(qt|ctk)\.|slicer\.q", text):
                yield "subclass", f"{node.name} is derived from {text}: hold one instead"

    def judge_import(self, node: ast.Import | ast.ImportFrom, row: Row) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.ImportFrom):
            targets = [node.module or ""] if not node.level else []
        else:
            targets = [alias.name for alias in node.names]
        for target in targets:
            library = target.split(".")[0]
            if library == "torch":
                yield "torch", "torch is never imported in Slicer's own process: ask a child process"
            if library in {"qt", "ctk"} and (isinstance(node, ast.ImportFrom) or node.names[0].asname):
                yield "import", f"import {library} as a whole and under its name, so that its uses can be checked"
            if self._is_shell() and not self._is_lazy(node) and not _may_shell_import(library):
                yield "import", f"{library} is imported when Slicer starts; import it in the function that needs it"

    def judge_call(self, node: ast.Call, row: Row) -> Iterator[tuple[str, str]]:
        called = ast.unparse(node.func)
        name = last_name(node.func)
        if called == "print":
            yield "print", "use logging, or show it in the panel"
        if called in {"time.sleep", "sleep"}:
            yield "sleep", "a sleeping panel is a frozen one; use a timer"
        if name == "processEvents" and self.module.within(node, (ast.For, ast.While)):
            yield "process-events", "an event loop in a loop lets the user click into half-finished work"
        if any(called == box or called.startswith(box + ".") for box in MESSAGE_BOXES):
            yield "message-box", f"use slicer.util.*Display, which testing can answer, instead of {called}"
        if name in {"import_module", "__import__"} and node.args and _constant(node.args[0]).split(".")[0] == "torch":
            yield "torch", "torch is never imported in Slicer's own process: ask a child process"
        if node.keywords and self._calls_qt(node, row):
            keywords = ", ".join(item.arg or "**" for item in node.keywords)
            yield "keywords", f"{called} takes positional arguments only, not {keywords}"
        if name in CONNECTS and isinstance(node.func, ast.Attribute):
            yield from self._judge_connect(node, node.func.value, row)

    def judge_spoken(self, node: ast.Call | ast.Assign, row: Row) -> Iterator[tuple[str, str]]:
        for text in spoken(self.module, node, row, self.is_qt):
            yield "text", text

    def judge_paths(self, node: ast.Call | ast.Assign, row: Row) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Call):
            if self._calls_qt(node, row):
                for argument in node.args:
                    if is_path(self.module, argument, row):
                        yield "path", f"give str({ast.unparse(argument)}) to {ast.unparse(node.func)}"
            return
        for target in node.targets:
            if isinstance(target, ast.Attribute) and self.is_qt(target.value, row):
                if is_path(self.module, node.value, row):
                    yield "path", f"give str({ast.unparse(node.value)}) to {ast.unparse(target)}"

    def judge_ui_name(self, node: ast.Attribute | ast.Call, row: Row) -> Iterator[tuple[str, str]]:
        name = ui_name(node, row)
        if name is not None and not name.startswith("__") and name not in self.ui_names:
            yield "ui-name", f"no .ui file has a {name}"

    def judge_ui_file(self, node: ast.Constant, row: Row) -> Iterator[tuple[str, str]]:
        if isinstance(node.value, str) and re.fullmatch(r"[\w./-]+\.ui", node.value):
            if PurePosixPath(node.value).name not in self.ui_files:
                yield "ui-file", f"{node.value} does not exist"

    def judge_api(self, node: ast.Attribute, row: Row) -> Iterator[tuple[str, str]]:
        if self.names is None:
            return
        parent = next(self.module.parents(node), None)
        is_called = isinstance(parent, ast.Call) and parent.func is node
        if isinstance(node.value, ast.Name) and node.value.id in {"qt", "ctk"}:
            if self.names.find(node.attr) is None:
                yield "api", f"{node.value.id} has no {node.attr}"
            return
        static = re.fullmatch(r"(?:qt|ctk)\.(\w+)|slicer\.(q\w+)", ast.unparse(node.value))
        if static:
            yield from self._judge_static(static[1] or static[2], node.attr, parent)
            return
        for cls in sorted(self.qt_classes(node.value, row) - SIGNALLERS_ONLY):
            if self.names.find(cls) is None:
                yield "api", f"the class {cls} of {ast.unparse(node.value)} is not known"
                continue
            kind = self.names.kind(cls, node.attr)
            if kind is None:
                yield "api", f"{cls} has no {node.attr}"
            elif kind == "property" and is_called:
                yield "api", f"{node.attr} is a property of {cls}: read it without calling it"
            elif kind != "property" and isinstance(node.ctx, ast.Store):
                yield "api", f"{node.attr} is a {kind} of {cls} and cannot be set"

    def _judge_static(self, cls: str, attribute: str, parent: ast.AST | None) -> Iterator[tuple[str, str]]:
        assert self.names is not None
        if self.names.find(cls) is None:
            return
        kind = self.names.class_kind(cls, attribute)
        if kind is None or kind == "signal":
            yield "api", f"the class {cls} has no {attribute}"
        elif kind == "enum type" and isinstance(parent, ast.Attribute):
            yield "api", f"enum values are names of the class: {cls}.{parent.attr}, not {cls}.{attribute}.{parent.attr}"

    def _judge_connect(self, node: ast.Call, sender: ast.expr, row: Row) -> Iterator[tuple[str, str]]:
        classes = self.module.classes(sender, row)
        if classes == {PYTHON}:
            return
        action = last_name(node.func)
        signatures = [_constant(value) for value in self.module.values(node.args[0], row)] if node.args else [""]
        if not all(SIGNATURE.fullmatch(signature) for signature in signatures):
            yield "signature", f'write {action}("name(Types)", f): {ast.unparse(node)[:80]}'
            return
        if len(node.args) != 2 and not (action == "disconnect" and len(node.args) == 1):
            yield "signature", f"{action} takes a signature and one callable"
        for value in self.module.values(node.args[1], row) if len(node.args) > 1 else ():
            if isinstance(value, ast.Lambda) and (value.args.defaults or value.args.kw_defaults):
                yield "callback", "a lambda with default arguments is given the signal's arguments in their place"
            if isinstance(value, ast.Call) and last_name(value.func) in {"partial", "partialmethod"}:
                yield "callback", "functools.partial is given all of the signal's arguments; write a method"
        if not classes:
            yield "signal", f"the class of {ast.unparse(sender)} cannot be told here: annotate it (x: qt.QTimer)"
        yield from self._judge_signatures(classes - {PYTHON}, signatures)

    def _judge_signatures(self, classes: set[str], signatures: list[str]) -> Iterator[tuple[str, str]]:
        if self.names is None:
            return
        for cls in sorted(classes):
            if self.names.find(cls) is None:
                yield "signal", f"the class {cls} is not known"
                continue
            for signature in signatures:
                if not self.names.has_signal(cls, signature):
                    yield "signal", f"{cls} has no signal {signature}"

    def _calls_qt(self, node: ast.Call, row: Row) -> bool:
        text = ast.unparse(node.func)
        if text.startswith(("qt.", "ctk.")) or re.fullmatch(r"slicer\.q\w+", text):
            return True
        return isinstance(node.func, ast.Attribute) and self.is_qt(node.func.value, row)

    def _is_shell(self) -> bool:
        return PurePosixPath(self.module.name).name == SHELL

    def _is_lazy(self, node: ast.AST) -> bool:
        for parent in self.module.parents(node):
            if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
                return True
            if isinstance(parent, ast.If) and ast.unparse(parent.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
                return True
        return False


def _may_shell_import(library: str) -> bool:
    return library in sys.stdlib_module_names or library in SLICER_LIBRARIES


def _constant(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _judge_ui(name: str, file: UiFile, modules: list[Module], names: QtNames | None) -> Iterator[Violation]:
    used: set[str | None] = {ui_name(node) for module in modules for node in module.nodes(ast.Attribute, ast.Call)}
    used |= {node.value for module in modules for node in module.nodes(ast.Constant) if isinstance(node.value, str)}
    used |= {sender for sender, _ in file.connections}
    fields = _fields(modules)
    for twice in file.twice:
        yield Violation("ui-name", name, f"several objects are called {twice}")
    for widget in file.widgets:
        where = f"{name}: {widget.name or widget.cls}"
        if widget.interactive:
            if not widget.name or re.search(r"_\d+$", widget.name):
                yield Violation("ui-name", where, "give it a name that says what it is")
            if not widget.tool_tip:
                yield Violation("ui-name", where, "has no tooltip")
            if widget.name not in used and not widget.parameter:
                yield Violation("ui-name", where, "is neither used in the code nor bound to a parameter")
        if widget.parameter and not _is_field(widget.parameter, fields):
            yield Violation("parameter", where, f"the parameter node has no {widget.parameter}")
    for sender, signature in file.connections if names is not None else ():
        cls = file.classes.get(sender, "")
        if names is not None and names.find(cls) is not None and not names.has_signal(cls, signature):
            yield Violation("signal", f"{name}: {sender}", f"{cls} has no signal {signature}")


def _fields(modules: list[Module]) -> dict[str, dict[str, str]]:
    """Class -> field -> annotation; the parameter node's own under ""."""
    found: dict[str, dict[str, str]] = {"": {}}
    for module in modules:
        for node in module.nodes(ast.ClassDef):
            assert isinstance(node, ast.ClassDef)
            marks = {last_name(decorator) for decorator in node.decorator_list}
            fields = {
                ast.unparse(item.target): ast.unparse(item.annotation)
                for item in node.body
                if isinstance(item, ast.AnnAssign)
            }
            if "parameterNodeWrapper" in marks:
                found[""].update(fields)
            elif "parameterPack" in marks:
                found[node.name] = fields
    return found


def _is_field(parameter: str, fields: dict[str, dict[str, str]]) -> bool:
    owner = ""
    for part in parameter.split("."):
        if part not in fields.get(owner, {}):
            return False
        owner = fields[owner][part].rsplit(".", maxsplit=1)[-1]
    return True


_Judge = Callable[[_Checker, Any, Row], Iterator[tuple[str, str]]]
_JUDGES: dict[type, tuple[_Judge, ...]] = {
    ast.ClassDef: (_Checker.judge_class,),
    ast.Import: (_Checker.judge_import,),
    ast.ImportFrom: (_Checker.judge_import,),
    ast.Call: (_Checker.judge_call, _Checker.judge_spoken, _Checker.judge_paths, _Checker.judge_ui_name),
    ast.Assign: (_Checker.judge_spoken, _Checker.judge_paths),
    ast.Attribute: (_Checker.judge_ui_name, _Checker.judge_api),
    ast.Constant: (_Checker.judge_ui_file,),
}
