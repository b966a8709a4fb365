"""The rules of the marketplace: identities, records, logs, tasks and frames. Pure; no I/O."""
