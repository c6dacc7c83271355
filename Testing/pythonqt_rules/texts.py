"""Which texts a user reads, and whether they can be translated."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterator

from .reading import Module, Row, last_name

# Method -> which of its arguments a user reads; None for all.
SETTERS: dict[str, tuple[int, ...] | None] = {
    "addAction": None,
    "addItem": (0,),
    "addItems": (0,),
    "addRow": (0,),
    "addTab": (1,),
    "appendPlainText": (0,),
    "delayDisplay": (0,),
    "getExistingDirectory": (1,),
    "getOpenFileName": (1, 3),
    "getSaveFileName": (1, 3),
    "insertItem": (1,),
    "insertItems": (1,),
    "setFormat": (0,),
    "setHeaderLabels": (0,),
    "setHorizontalHeaderLabels": (0,),
    "setItemText": (1,),
    "setLabelText": (0,),
    "setPlaceholderText": (0,),
    "setPlainText": (0,),
    "setStatusTip": (0,),
    "setText": None,
    "setTitle": (0,),
    "setToolTip": None,
    "setVerticalHeaderLabels": (0,),
    "setWhatsThis": (0,),
    "setWindowTitle": (0,),
}
CONSTRUCTORS = frozenset(
    {
        "QAction",
        "QCheckBox",
        "QGroupBox",
        "QLabel",
        "QListWidgetItem",
        "QMenu",
        "QProgressDialog",
        "QPushButton",
        "QRadioButton",
        "QStandardItem",
        "QTableWidgetItem",
        "ctkCollapsibleButton",
        "ctkCollapsibleGroupBox",
    }
)
DISPLAYS = frozenset(
    {
        "confirmOkCancelDisplay",
        "confirmRetryCloseDisplay",
        "confirmYesNoDisplay",
        "errorDisplay",
        "infoDisplay",
        "messageBox",
        "showStatusMessage",
        "tryWithErrorDisplay",
        "warningDisplay",
    }
)
PROPERTIES = frozenset(
    {
        "acknowledgementText",
        "caption",
        "defaultText",
        "format",
        "helpText",
        "noneDisplay",
        "placeholderText",
        "plainText",
        "prefix",
        "statusTip",
        "suffix",
        "text",
        "title",
        "toolTip",
        "whatsThis",
        "windowTitle",
    }
)
TRANSLATORS = ("_", "tr", "translate")

# Tags, placeholders, levels, units and names of devices, which are the same in every language.
NOT_WORDS = re.compile(r"<[^>]*>|\{[^}]*\}|%\w|&\w+;|\b(?:[CTLS]\d{1,2}|mm|HU|MB|GB|ms|s|auto|cpu|cuda|mps)\b")
WORD = re.compile(r"[^\W\d_]")


def spoken(
    module: Module, node: ast.Call | ast.Assign, row: Row, is_qt: Callable[[ast.expr, Row], bool]
) -> Iterator[str]:
    """What is wrong with the texts that a call or an assignment shows.

    A variable is followed to what it was given, a parameter to the file's own calls, a call to what is returned. The
    texts of the project's errors are shown too.
    """
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Attribute) and target.attr in PROPERTIES:
                if is_qt(target.value, row) or last_name(target.value) == "parent":
                    yield from _complaints(module, node.value, row)
        return
    name = last_name(node.func)
    if name in TRANSLATORS and isinstance(node.func, ast.Name):
        if any(isinstance(argument, ast.JoinedStr | ast.BinOp) for argument in node.args):
            yield f'{name}() takes a plain literal; fill it in afterwards: {name}("{{n}} of {{m}}").format(...)'
        yield from _shadowed(module, node, name)
        return
    for argument in _read_by_user(node, name):
        yield from _complaints(module, argument, row)


def _shadowed(module: Module, node: ast.Call, name: str) -> Iterator[str]:
    """``for _ in ...`` in a function makes its ``_()`` something else."""
    function = module.within(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for inner in ast.walk(function) if function is not None else ():
        is_target = isinstance(inner, ast.Name) and inner.id == name and isinstance(inner.ctx, ast.Store)
        in_comprehension = isinstance(next(module.parents(inner), None), ast.comprehension)
        if (is_target and not in_comprehension) or (isinstance(inner, ast.arg) and inner.arg == name):
            yield f"{name} is a variable of this function, so that {name}() cannot be called in it"
            return


def _read_by_user(node: ast.Call, name: str) -> list[ast.expr]:
    if name in SETTERS and isinstance(node.func, ast.Attribute):
        places = SETTERS[name]
        chosen = range(len(node.args)) if places is None else places
        return [node.args[place] for place in chosen if place < len(node.args)]
    if name in CONSTRUCTORS and ast.unparse(node.func).startswith(("qt.", "ctk.")):
        return list(node.args)
    if name.endswith("Error") and isinstance(node.func, ast.Name) and not hasattr(builtins, name):
        return list(node.args)
    if name in DISPLAYS:
        texts = [item.value for item in node.keywords if item.arg in {"text", "message", "windowTitle", "detailedText"}]
        return [*node.args[:1], *texts]
    return []


def _complaints(module: Module, node: ast.expr, row: Row) -> Iterator[str]:
    for bare in _bare(module, node, row, frozenset()):
        yield f"wrap it in _(): {ast.unparse(bare)[:60]}"


def _bare(module: Module, node: ast.expr, row: Row, seen: frozenset[ast.AST]) -> Iterator[ast.expr]:
    """The texts in an expression that no translator sees."""
    if node in seen:
        return
    if isinstance(node, ast.Constant | ast.JoinedStr):
        pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [piece.value for piece in pieces if isinstance(piece, ast.Constant) and isinstance(piece.value, str)]
        if any(WORD.search(NOT_WORDS.sub("", text)) for text in texts):
            yield node
    for part in _parts(module, node, row):
        yield from _bare(module, part, row, seen | {node})


def _parts(  # noqa: PLR0911 - one kind of expression after the other
    module: Module, node: ast.expr, row: Row
) -> list[ast.expr]:
    """What an expression's text is made of."""
    if isinstance(node, ast.BinOp):
        return [node.left] if isinstance(node.op, ast.Mod) else [node.left, node.right]
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return node.elts
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        return [node.elt]
    if isinstance(node, ast.Starred):
        return [node.value]
    if isinstance(node, ast.Name):
        return [value for value in module.values(node, row) if value is not node] + module.passed(node)
    if not isinstance(node, ast.Call):
        return []
    if isinstance(node.func, ast.Attribute) and node.func.attr in {"format", "join"}:
        return [node.func.value] if node.func.attr == "format" else node.args
    return module.returned(node)
