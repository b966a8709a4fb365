"""A relay: it carries records and makes agents discoverable; it can withhold, never forge."""
