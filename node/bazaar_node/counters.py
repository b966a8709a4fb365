"""What a node counts about itself, for ``/metrics``."""

from bazaar_host.metrics import Metrics
from bazaar_node.driver import Driver
from bazaar_node.network.relays import RelayOffice
from bazaar_node.storage.store import NodeStore


def count(driver: Driver, office: RelayOffice, store: NodeStore) -> Metrics:
    """Return metrics that read the node's parts when they are asked for."""
    metrics = Metrics()
    load = metrics.gauge("slots_taken", "Tasks that this node works on")
    load.set_function(lambda: driver.agent.load)
    slots = metrics.gauge("slots", "Tasks that this node would work on at once")
    slots.set_function(lambda: driver.agent.slots)
    relays = metrics.gauge("relays_connected", "Relays that can be used now")
    relays.set_function(lambda: len(office.connected()))
    seq = metrics.gauge("log_entries", "Entries of this node's own log")
    seq.set_function(lambda: driver.agent.pen.head.seq)
    commits = metrics.gauge("store_commits", "Transactions since the start")
    commits.set_function(lambda: store.commits)
    events = metrics.gauge("events_handled", "Events that the agent handled since the start")
    events.set_function(lambda: driver.handled)
    return metrics
