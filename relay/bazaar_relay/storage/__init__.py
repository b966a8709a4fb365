"""What a relay keeps: one contract, in memory, in SQLite, and in PostgreSQL."""
