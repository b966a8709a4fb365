"""What an agent decides: pure machines for the poster's side and the worker's."""
