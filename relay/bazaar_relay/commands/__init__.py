"""``bazaar relay``: run a relay, or look after one.

Its commands are imported together, so that its help can say what each does; none of them imports
libp2p before it is called.
"""

from cyclopts import App

from bazaar_relay.commands.backing_up import backup, restore
from bazaar_relay.commands.blocking import block, unblock
from bazaar_relay.commands.check_config import check_config
from bazaar_relay.commands.info import info
from bazaar_relay.commands.init import init
from bazaar_relay.commands.stats import stats
from bazaar_relay.commands.up import up
from bazaar_relay.commands.vacuum import vacuum

app = App(
    name="relay",
    help="Run a relay, or look after one.",
    help_epilogue="Example: bazaar relay up --listen /ip4/127.0.0.1/tcp/4001",
    result_action="return_value",
)
app.command(up, "up", help_epilogue="Example: bazaar relay up --listen /ip4/0.0.0.0/tcp/4001")
app.command(
    info,
    "info",
    help_epilogue="Example: bazaar relay info /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW...",
)
app.command(stats, "stats", help_epilogue="Example: bazaar relay stats --json")
app.command(init, "init", help_epilogue="Example: bazaar relay init --home ./my-relay")
app.command(
    block, "block", help_epilogue="Example: bazaar relay block did:key:z6Mk... --home ./my-relay"
)
app.command(
    unblock,
    "unblock",
    help_epilogue="Example: bazaar relay unblock did:key:z6Mk... --home ./my-relay",
)
app.command(
    check_config,
    "check-config",
    help_epilogue="Example: bazaar relay check-config --home ./my-relay",
)
app.command(
    backup, "backup", help_epilogue="Example: bazaar relay backup ./relay-2026-11-21.backup"
)
app.command(
    restore,
    "restore",
    help_epilogue="Example: bazaar relay restore ./relay-2026-11-21.backup --home ./new-relay",
)
app.command(vacuum, "vacuum", help_epilogue="Example: bazaar relay vacuum --home ./my-relay")
