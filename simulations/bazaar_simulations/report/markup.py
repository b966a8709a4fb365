"""HTML, put together so that nothing in it is taken for markup that is not."""

import re
from html import escape
from typing import Final

_PROLOGUE: Final = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL
)
_NAMESPACES: Final = re.compile(r'\sxmlns(?::\w+)?="[^"]*"')
_SIZE: Final = re.compile(r'(<svg\b[^>]*?)\swidth="[^"]*"([^>]*?)')
_HEIGHT: Final = re.compile(r'(<svg\b[^>]*?)\sheight="[^"]*"([^>]*?)')
_INK: Final = re.compile(r"(?<=[:\s\"])(?:#000000|black)(?=[;\"\s])", re.IGNORECASE)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """Return an element; children that are no ``Markup`` are text.

    Args:
        tag: Which.
        children: What is in it, in order.
        attributes: Its attributes; one whose name is a word of Python's ends with ``_``.

    """
    said = "".join(f' {name.rstrip("_")}="{escape(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{said}>{joined(*children)}</{tag}>")


def joined(*parts: str) -> Markup:
    """Return these one after the other; what is no ``Markup`` is text."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def table(head: list[str], rows: list[list[str]], *, caption: str) -> Markup:
    """Return a table of some rows; the first of each names it, the others are numbers or words."""
    kinds = ["said", *("" if one[:1].isdigit() else "said" for one in rows[0][1:])]
    names = element("tr", *(
        element("th", one, scope="col", class_=kind) for one, kind in zip(head, kinds, strict=True)
    ))  # fmt: skip
    lines = [
        element("tr", element("th", row[0], scope="row"), *map(_cell, row[1:])) for row in rows
    ]
    whole = element(
        "table",
        element("caption", caption),
        element("thead", names),
        element("tbody", *lines),
    )
    return element("div", whole, class_="wide")


def _cell(text: str) -> Markup:
    return element("td", text) if text[:1].isdigit() else element("td", text, class_="said")


def drawing(svg: str, about: str) -> Markup:
    """Return an SVG of ours as a part of a page: as wide as there is room, in the page's colours.

    Args:
        svg: What matplotlib has written; nothing of a stranger's is in it but escaped text.
        about: What is to be seen in it, for those who cannot see it.

    """
    inside = _NAMESPACES.sub("", _PROLOGUE.sub("", svg)).strip()
    inside = inside.replace("xlink:href", "href")
    inside = _HEIGHT.sub(r"\1\2", _SIZE.sub(r"\1\2", inside, count=1), count=1)
    inside = _INK.sub("currentColor", inside)
    return element("figure", Markup(inside), role="img", **{"aria-label": about})
