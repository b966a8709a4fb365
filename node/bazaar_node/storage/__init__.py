"""What a node keeps: its log, its tasks, its outbox, and blobs."""
