"""Stands beside one program, so that it ends when the node that wanted it is gone.

``guarded_process`` runs this file by itself, with nothing of ours imported, since each program
waits for it to start: ``python -I -S program_guard.py DESCRIPTOR GRACE_S COMMAND…``. The descriptor
is one end of a socket pair. It is told ``failed <why>`` or, once the program and all that it left
behind are gone, ``exit <status>``. When the other end closes (and it does for a node that is killed
by ``kill -9``) the program's whole process group gets SIGTERM and, ``GRACE_S`` later, SIGKILL.
A program that leaves its process group on purpose escapes.
"""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

_POLL_S = 0.02


def main() -> None:
    """Run the command and wait for it, or for the node to go away."""
    control, grace_s, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    wake = _wake_up_on_signals()
    try:
        # Descriptors 0 to 2 go on to the program; all others, `control` among them, do not.
        program = subprocess.Popen(command, start_new_session=True)  # noqa: S603 (what the operator named)
    except (OSError, ValueError) as error:
        _tell(control, f"failed {getattr(error, 'strerror', None) or error}")
        return
    _let_go_of_standard_streams()
    while program.poll() is None:
        ready, _, _ = select.select([control, wake], [], [])
        if control in ready or any(number != signal.SIGCHLD for number in os.read(wake, 64)):
            _stop(program, grace_s)
    _signal_group(program.pid, signal.SIGKILL)
    _tell(control, f"exit {program.returncode}")


def _wake_up_on_signals() -> int:
    """Return a descriptor from which the number of each signal that comes can be read."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return wake


def _let_go_of_standard_streams() -> None:
    """Leave the program as the only one who holds them, so that their end means its end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)


def _stop(program: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask the whole group to end, and do not ask again."""
    _signal_group(program.pid, signal.SIGTERM)
    until = time.monotonic() + grace_s
    while time.monotonic() < until:
        has_ended = program.poll() is not None
        if has_ended and not _signal_group(program.pid, 0):
            return
        time.sleep(_POLL_S)
    _signal_group(program.pid, signal.SIGKILL)
    program.wait()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to whoever is left of the group; False if nobody is."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says this of a group that has only zombies
        return False
    return True


def _tell(control: int, text: str) -> None:
    with suppress(OSError):  # the node is gone, so nobody wants to know
        os.write(control, f"{text}\n".encode(errors="replace"))


if __name__ == "__main__":
    main()
