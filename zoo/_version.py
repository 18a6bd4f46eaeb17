"""The version of the installed distribution."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("edgeseg-zoo")
    except PackageNotFoundError:  # a checkout on the path that nobody installed
        return "0+unknown"


__version__ = _installed()
