"""Text from strangers, made fit to be shown to people: on a terminal, in a log, on a page."""


def clean(text: str, chars_max: int) -> str:
    """Return ``text`` as one line of at most ``chars_max`` characters, all of them visible.

    Control characters could drive the terminal, bidirectional ones show a line in an order in which
    it was not written, and invisible ones make two names look alike. So all that Unicode does not
    call printable goes, and white space of any kind becomes a plain space.
    """
    assert chars_max > 0
    if not text.isprintable():
        text = "".join(
            letter if letter.isprintable() else " " if letter.isspace() else "" for letter in text
        )
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
