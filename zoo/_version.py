"""The version of the installed distribution."""

from functools import cache


@cache
def version() -> str:
    """As pip installed it. Reading it takes longer than most of a command, so that it is read when it is asked for."""
    from importlib import metadata

    try:
        return metadata.version("edgeseg-zoo")
    except metadata.PackageNotFoundError:  # a checkout on the path that nobody installed
        return "0+unknown"
