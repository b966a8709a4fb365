"""``bazaar relay``: run a relay, or look after one."""

from cyclopts import App

app = App(
    name="relay",
    help="Run a relay, or look after one.",
    help_epilogue="Example: bazaar relay up --listen /ip4/127.0.0.1/tcp/4001",
    result_action="return_value",
)
_HERE = "bazaar_relay.commands."
app.command(
    _HERE + "up:up", "up", help_epilogue="Example: bazaar relay up --listen /ip4/0.0.0.0/tcp/4001"
)
app.command(
    _HERE + "info:info",
    "info",
    help_epilogue="Example: bazaar relay info /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW...",
)
app.command(_HERE + "stats:stats", "stats", help_epilogue="Example: bazaar relay stats --json")
app.command(
    _HERE + "check_config:check_config",
    "check-config",
    help_epilogue="Example: bazaar relay check-config --home ./my-relay",
)
