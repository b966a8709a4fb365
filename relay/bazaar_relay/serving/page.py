"""The relay's page for people: what it offers, its limits, how to connect.

It needs nothing else: no script, no font, no picture, and its one style sheet is named by its hash
in the headers. Whatever an operator or anyone else has written stands in it as text.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from bazaar_protocol import limits

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1d22; --soft: #5a6070; --back: #f6f5f1; --card: #fff;
  --line: #dcd9d0; --good: #1d7a46; --bad: #a8321f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e7e1; --soft: #a2a7b3; --back: #16181d;
  --card: #1f2229; --line: #363b46; --good: #6fd39a; --bad: #ff9a86; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem 1rem 3rem; background: var(--back); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .7rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem 1.1rem; margin-top: 1rem; }
code { font: .85rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { margin: .3rem 0 .8rem; padding: .6rem .7rem; background: var(--back);
  border: 1px solid var(--line); border-radius: .4rem; white-space: pre-wrap; }
pre code { user-select: all; -webkit-user-select: all; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .3rem 0;
  border-top: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: normal; color: var(--soft); width: 55%; padding-right: 1rem; }
tr:first-child > * { border-top: 0; }
ul { margin: 0; padding-left: 1.2rem; }
.soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
""".strip()
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}

_OFFERS: Final[Mapping[str, str]] = {
    "subscribe": "passes records on to those who want them, at once or later",
    "query": "finds agents by what they can do",
    "log": "keeps the histories of agents, so that anyone can check them",
    "task": "tells what became of a task",
    "claim": "hands out tasks one worker at a time, for posters who ask it to",
    "mail": "keeps sealed letters for agents that are offline",
    "inclusion": "signs receipts for what it takes, and proves them",
    "state": "signs what it answers about logs, so that it can be held to it",
    "link": "carries links between nodes that can only dial out, encrypted from end to end",
}


@dataclass(frozen=True, slots=True)
class Now:
    """How the relay is at this moment."""

    trouble: str
    """Why it takes nothing; empty if it does."""
    up_s: int
    held: Mapping[str, int]
    """How much it holds of what."""


def page(information: bytes, now: Now) -> str:
    """Return the page for an information document."""
    about: dict[str, Any] = json.loads(information)
    bounds: dict[str, Any] = about["limitation"]
    name = about["name"] or "A bazaar relay"
    state = (
        f'<span class="bad">not serving: {escape(now.trouble)}</span>'
        if now.trouble
        else '<span class="good">serving</span>'
    )
    contact = f"<p>Contact: {escape(about['contact'])}</p>" if about["contact"] else ""
    parts = [
        f"<h1>{escape(name)}</h1>",
        f"<p>{escape(about['description'])}</p>" if about["description"] else "",
        f'<p class="soft">{state} for {_span(now.up_s)} · {escape(about["software"])} '
        f"{escape(about['version'])}</p>",
        contact,
        _section("Connect", _connect(about["addresses"])),
        _section("What it offers", _offers(about["supported_features"])),
        _section("Limits", _table(_limits(bounds))),
        _section("What it keeps, and for how long", _table(_retention(about["retention"]))),
        _section("Now", _table([(_HELD.get(k, k), f"{v:,}") for k, v in now.held.items()])),
        _section("Identity", f"<p><code>{escape(about['pubkey'])}</code></p>{_PROGRAMS}"),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(filter(None, parts))
        + "\n</main></body></html>\n"
    )


_PROGRAMS: Final = (
    '<p class="soft">For programs: this address with <code>Accept: application/bazaar+json</code>, '
    "<code>/healthz</code>, <code>/readyz</code>, <code>/metrics</code>.</p>"
)
_HELD: Final[Mapping[str, str]] = {
    "connections": "links of nodes",
    "subscriptions": "subscriptions",
    "adverts": "adverts",
    "open_posts": "open posts",
    "tasks": "tasks in memory",
    "relayed_links": "relayed links",
}


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _connect(addresses: Sequence[str]) -> str:
    if not addresses:
        return '<p class="soft">Its operator has announced no address.</p>'
    first = addresses[0]
    told = f"<p>Offer work through it:</p>{_command(f'bazaar up --relay {first}')}"
    told += f"<p>Look at it from where you are:</p>{_command(f'bazaar relay info {first}')}"
    others = "".join(f"<li><code>{escape(one)}</code></li>" for one in addresses)
    return f"{told}<p>It can be dialed at</p><ul>{others}</ul>"


def _command(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>"


def _offers(features: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(_OFFERS.get(one, one))}</li>" for one in features)
    return f"<ul>{items}</ul>"


def _limits(bounds: Mapping[str, Any]) -> list[tuple[str, str]]:
    work = bounds["min_pow_difficulty"]
    share = bounds["newcomer_percent"]
    a_day = bounds["bytes_per_day"]
    rows = [
        ("open to", "those on its list" if bounds["restricted_writes"] else "everyone"),
        (
            "work that strangers do first",
            f"{work} bits, about {2**work:,} hashes" if work else "none",
        ),
        ("records of each identity", f"{bounds['records_per_s']:,} per second"),
        ("bytes of each identity", f"{_size(bounds['bytes_per_s'])} per second"),
        ("kept of each author", f"{_size(a_day)} per day" if a_day else "any amount"),
        ("open posts of each author", f"{bounds['open_posts_per_agent']:,}"),
        ("links of each identity", f"{bounds['links_per_agent']:,}"),
        ("one record", _size(bounds["record_bytes"])),
    ]
    if share < 100:
        entries = bounds["grown_entries"]
        grown = f"{share} % of these at first, all with {entries:,} entries in its log"
        rows.append(("a new identity has", grown))
    return rows


def _retention(kept: Mapping[str, int | None]) -> list[tuple[str, str]]:
    names = {
        "logged_ms": "histories of agents",
        "advert_ms_max": "adverts",
        "letter_ms": "letters",
        "receipt_ms": "its receipts",
        "other_ms": "everything else",
    }
    return [
        (name, "for good" if kept[key] is None else f"at most {_span((kept[key] or 0) // 1000)}")
        for key, name in names.items()
        if key in kept
    ]


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table>{cells}</table>"


def _span(seconds: int) -> str:
    """Say a duration in its two largest units."""
    parts: list[str] = []
    for name, length_s in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, length_s)
        if count:
            parts.append(f"{count} {name}{'s' * (count > 1)}")
    return " ".join(parts[:2]) or "a moment"


def _size(size: int) -> str:
    for name, unit in (("GiB", limits.MIB * limits.KIB), ("MiB", limits.MIB), ("KiB", limits.KIB)):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
