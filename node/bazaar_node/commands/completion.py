"""``bazaar --install-completion``: let the shell complete commands and options."""

from bazaar_node import outcomes
from bazaar_node.command_line import make_app
from bazaar_node.commands import output


def install_completion() -> int:
    """Write a completion script for your shell, and name it in the shell's start file."""
    path = make_app().install_completion(add_to_startup=True)
    output.say(f"installed {path}; it works in the next shell you open")
    return outcomes.OK
