"""How work is done and judged: programs, functions, schemas, checks."""
