"""What a relay keeps: one contract, in memory and in SQLite."""
