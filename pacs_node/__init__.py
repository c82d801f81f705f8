"""pacs-node: receives chest radiographs from a PACS and returns a soft-tissue companion (research use)."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pacs-node")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
