"""The table of all commands. None is imported before it is called, so each starts at once."""

from importlib import metadata
from typing import Final, NamedTuple

from cyclopts import App, Group, Parameter

_NODE: Final = Group.create_ordered("A node")
_MARKET: Final = Group.create_ordered("The market")
_TRUST: Final = Group.create_ordered("Trust")
_RELAY: Final = Group.create_ordered("A relay")
_MORE: Final = Group.create_ordered("More")


class _Command(NamedTuple):
    name: str
    place: str
    group: Group
    example: str
    help: str | None = None
    """For whole groups of commands, whose module would have to be imported to know."""


_HERE: Final = "bazaar_node.commands."
_COMMANDS: Final = (
    _Command("init", "init:init", _NODE, "bazaar init --name ada --relay ADDR"),
    _Command("up", "up:up", _NODE, "bazaar up --relay ADDR --offer text.count --exec ./count.py"),
    _Command("status", "status:status", _NODE, "bazaar status --json"),
    _Command("doctor", "doctor:doctor", _NODE, "bazaar doctor"),
    _Command(
        "key", "key:app", _NODE, "", "Show, back up, restore or end the keys that make the node."
    ),
    _Command("recover", "recover:recover", _NODE, "bazaar recover"),
    _Command("config", "config:app", _NODE, "", "Show settings, and where each comes from."),
    _Command(
        "offer", "offers:offer", _MARKET, "bazaar offer text.count --exec ./count.py --price 5"
    ),
    _Command("withdraw", "offers:withdraw", _MARKET, "bazaar withdraw text.count"),
    _Command("offers", "offers:offers", _MARKET, "bazaar offers"),
    _Command("find", "offers:find", _MARKET, "bazaar find translate german"),
    _Command("post", "post:post", _MARKET, "bazaar post -c text.count -i 'one two' --wait"),
    _Command("tasks", "tasks:tasks", _MARKET, "bazaar tasks --role poster --state running"),
    _Command("task", "tasks:task", _MARKET, "bazaar task 3f9a --watch"),
    _Command("cancel", "tasks:cancel", _MARKET, "bazaar cancel 3f9a -r 'no longer needed'"),
    _Command("approve", "tasks:approve", _MARKET, "bazaar approve 3f9a"),
    _Command("reject", "tasks:reject", _MARKET, "bazaar reject 3f9a -r 'two rows are missing'"),
    _Command("fetch", "tasks:fetch", _MARKET, "bazaar fetch 3f9a -o table.json"),
    _Command("work", "work:app", _MARKET, "", "Take tasks and do them yourself."),
    _Command("dispute", "tasks:dispute", _TRUST, "bazaar dispute 3f9a -r 'both rows are there'"),
    _Command("vouch", "pledges:vouch", _TRUST, "bazaar vouch did:key:z6Mk..."),
    _Command("stamp", "pledges:stamp", _TRUST, "bazaar stamp"),
    _Command("canary", "canary:app", _TRUST, "", "Keep answers you know, to try strangers with."),
    _Command(
        "reputation", "reputation:reputation", _TRUST, "bazaar reputation z6Mkq1 -c text.count"
    ),
    _Command("why", "reputation:why", _TRUST, "bazaar why z6Mkq1"),
    _Command("audit", "audit:audit", _TRUST, "bazaar audit 3f9a"),
    _Command("evidence", "evidence:app", _TRUST, "", "Hand evidence on, take it over, check it."),
)


def make_app(*, with_help: bool = False) -> App:
    """Return the command line; ``with_help`` imports the commands, to list what each does."""
    app = App(
        name="bazaar",
        help="A marketplace of agents: post tasks, do tasks, and prove who did what.",
        help_epilogue="Example: bazaar demo",
        help_format="markdown",
        version=lambda: metadata.version("bazaar"),
        result_action="return_value",
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative="", show_default=False),
    )
    for command in _COMMANDS:
        more = {"help_epilogue": f"Example: {command.example}"} if command.example else {}
        app.command(
            _HERE + command.place, command.name, group=command.group, help=command.help, **more
        )
        if with_help:
            app[command.name]  # resolves it
    # By name alone: the two programs share a command line, and nothing else.
    app.command(
        "bazaar_relay.commands:app", "relay", group=_RELAY, help="Run a relay, or look after one."
    )
    app.command(
        "bazaar_simulations.commands:app",
        "simulate",
        group=_MORE,
        help="Attack a market of many agents, or shake a small world of real nodes and relays.",
    )
    app.command(
        "bazaar_node.demo.command:demo",
        "demo",
        group=_MORE,
        help="Watch strangers trade on this machine: a relay and five agents, no network.",
        help_epilogue="Example: bazaar demo",
    )
    app.command(
        _HERE + "completion:install_completion",
        "--install-completion",
        group=_MORE,
        help="Install completion for your shell.",
        help_epilogue="Example: bazaar --install-completion",
    )
    return app
