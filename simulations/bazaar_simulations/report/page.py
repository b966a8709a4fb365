"""The page around what a report shows: light or dark as its reader likes, also on a phone."""

from collections.abc import Sequence
from string import Template
from typing import Final

from bazaar_simulations.report.markup import Markup, element, joined

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fdfdfc; --line: #d5d7da;
  --soft: #5b6067; --band: #f3f4f2; --bad: #a3231b; --good: #1b6b3a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e8; --paper: #16181b;
  --line: #3a3e44; --soft: #9aa0a8; --band: #1e2125; --bad: #ff8a80; --good: #7fd6a2; } }
body { margin: 0 auto; padding: 1.2rem; max-width: 60rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0 1rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: .9em/1.45 ui-monospace, monospace; }
pre { padding: .7rem; background: var(--band); overflow-x: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { text-align: left; font-weight: 600; } td { text-align: right; }
thead th { text-align: right; } td.said, thead th.said { text-align: left; }
tbody tr:nth-child(even) { background: var(--band); }
figure { margin: 1rem 0; overflow-x: auto; }
figure svg { width: 100%; min-width: 32rem; height: auto; }
figure svg text { font-family: system-ui, sans-serif; fill: currentColor; }
.missed { color: var(--bad); } .met { color: var(--good); }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .9rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
</style>
</head>
<body>
$body
</body>
</html>
""")


def page(title: str, facts: Sequence[tuple[str, str]], *sections: Markup) -> str:
    """Return a whole page.

    Args:
        title: What it is about.
        facts: What has to be known of it, each with a name.
        sections: What it shows.

    """
    pairs = [joined(element("dt", name), element("dd", value)) for name, value in facts]
    body = joined(element("h1", title), element("dl", *pairs), *sections)
    return _PAGE.substitute(title=joined(title), body=body)


def section(title: str, *parts: str) -> Markup:
    """Return a section of a page."""
    return element("section", element("h2", title), *parts)


def code(text: str) -> Markup:
    """Return what somebody may type."""
    return element("code", text)
