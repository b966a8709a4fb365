"""What a relay decides: pure, without a clock, a socket, a disk or chance."""
