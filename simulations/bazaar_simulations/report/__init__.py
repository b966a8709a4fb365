"""Reports in HTML: one file each, which needs nothing else and can be sent to anybody."""
