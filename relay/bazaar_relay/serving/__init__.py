"""A relay in one event loop: links, threads, and the way to the store."""
