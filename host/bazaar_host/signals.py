"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second does not wait for it."""

import asyncio
import os
import signal
from typing import Final

_SIGNAL_STATUS: Final = 128  # a shell's convention: 128 and the number of the signal


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets; a second one ends the process at once.

    For the main thread, inside the running event loop. What was acknowledged is committed, so an
    end at once loses nothing that anybody was promised.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(_SIGNAL_STATUS + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    return stop
