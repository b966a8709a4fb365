"""Slots for inbound connections: bounded three ways, and always given back."""

from bazaar_host.admission import Admission, ConnectionLimits


def test_each_bound_refuses_and_each_end_makes_room() -> None:
    admission = Admission(ConnectionLimits(pending_max=2, per_address_max=3, total_max=4))
    assert admission.admit("a")
    assert admission.admit("a")
    assert not admission.admit("b")  # two have not proven who they are
    admission.settle()
    admission.settle()
    assert admission.admit("a")
    admission.settle()
    assert not admission.admit("a")  # three from one address
    assert admission.admit("b")
    admission.settle()
    assert not admission.admit("c")  # four in all
    admission.release("a")
    assert admission.admit("c")


def test_slots_do_not_wear_out() -> None:
    admission = Admission(ConnectionLimits(pending_max=1, per_address_max=1, total_max=1))
    for number in range(1000):
        assert admission.admit(f"address {number % 3}")
        admission.settle()
        admission.release(f"address {number % 3}")
    assert admission.total == admission.pending == 0
