"""``bazaar simulate``: attack a market of many, or shake a small world of the real code."""

from cyclopts import App

_HERE = "bazaar_simulations.commands."

app = App(
    name="simulate",
    help="Attack a market of many agents, or shake a small world of real nodes and relays.",
    help_epilogue="Example: bazaar simulate table --seeds 5",
    result_action="return_value",
)
app.command(
    _HERE + "listing:list_all",
    "list",
    help="List the adversaries, and the worlds of real nodes.",
    help_epilogue="Example: bazaar simulate list",
)
app.command(
    _HERE + "running:run",
    "run",
    help="Run one adversary in a market of many, or one world of real nodes.",
    help_epilogue="Example: bazaar simulate run ring --share 0.4 --seeds 5",
)
app.command(
    _HERE + "table:table",
    "table",
    help="Run every attack against every defence.",
    help_epilogue="Example: bazaar simulate table --seeds 5 --jobs 2 --plots pictures",
)
app.command(
    _HERE + "checking:eigentrust",
    "eigentrust",
    help="Run EigenTrust against the threat models of its own paper.",
    help_epilogue="Example: bazaar simulate eigentrust --seeds 3",
)
app.command(
    _HERE + "replaying:replay",
    "replay",
    help="Run one world of real nodes again, and show its log.",
    help_epilogue="Example: bazaar simulate replay 7 --scenario crashes",
)
