"""An agent's node: one identity that posts, bids, works and judges, and its command line.

``Node``, ``Task``, ``PostRequest``, ``OfferRequest`` and ``OpenNode`` are the library's public
names; they are loaded when first used, since a short command needs none of what they need.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bazaar_node.library import Node, OfferRequest, OpenNode, PostRequest, Task

__all__ = ["Node", "OfferRequest", "OpenNode", "PostRequest", "Task"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bazaar_node import library

    return getattr(library, name)
