"""Building the shipped devices from their sources; for maintainers, and not in the wheel."""
