"""What a .ui file holds."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

# Widgets that show or hold something and take no input of their own.
PASSIVE = frozenset(
    {
        "Line",
        "QDialog",
        "QFrame",
        "QLabel",
        "QScrollArea",
        "QSplitter",
        "QStackedWidget",
        "QTabWidget",
        "QToolBox",
        "QWidget",
        "ctkCollapsibleButton",
        "ctkCollapsibleGroupBox",
        "qMRMLWidget",
        "qSlicerWidget",
    }
)


@dataclass(frozen=True)
class Widget:
    """One widget.

    Attributes:
        name: its object name.
        cls: its C++ class.
        tool_tip: the text of its tooltip.
        parameter: its SlicerParameterName.
        interactive: whether a user does something with it.
    """

    name: str
    cls: str
    tool_tip: str
    parameter: str
    interactive: bool


class UiFile:
    """The widgets of one file, and the names that ``slicer.util.childWidgetVariables`` gives.

    Raises:
        xml.etree.ElementTree.ParseError: the text is no XML.
    """

    def __init__(self, text: str) -> None:
        root = ElementTree.fromstring(text)
        self.widgets = [_widget(element) for element in root.iter("widget")]
        others = [element.get("name", "") for tag in ("layout", "action", "buttongroup") for element in root.iter(tag)]
        names = [widget.name for widget in self.widgets] + [name for name in others if name]
        self.names = set(names)
        self.twice = sorted({name for name in names if names.count(name) > 1})
        self.classes = {widget.name: widget.cls for widget in self.widgets}
        for tag, cls in (("action", "QAction"), ("buttongroup", "QButtonGroup")):
            self.classes.update({element.get("name", ""): cls for element in root.iter(tag)})
        self.classes.update({element.get("name", ""): element.get("class", "") for element in root.iter("layout")})
        self.connections = [
            (item.findtext("sender", ""), item.findtext("signal", "")) for item in root.iter("connection")
        ]


def _widget(element: ElementTree.Element) -> Widget:
    cls = element.get("class", "")
    passive = cls in PASSIVE or (cls == "QGroupBox" and _text(element, "checkable") != "true")
    return Widget(
        name=element.get("name", ""),
        cls=cls,
        tool_tip=_text(element, "toolTip").strip(),
        parameter=_text(element, "SlicerParameterName").strip(),
        interactive=not passive,
    )


def _text(element: ElementTree.Element, name: str) -> str:
    found = element.find(f"property[@name='{name}']")
    return "" if found is None else "".join(found.itertext())
