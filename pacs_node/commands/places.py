"""Where the report of a long work is to go."""

from pathlib import Path

from pacs_node.errors import ConfigError

__all__ = ["require_places"]


def require_places(folder: Path | None, page: Path | None) -> None:
    """See that a report can be written, before the hours that making it takes.

    Parameters
    ----------
    folder : made where it is not there; None for none.
    page : one more file, in ``folder`` or in a folder that is there; None for none.

    Raises
    ------
    ConfigError
        ``folder`` is a file, ``page`` is a folder, or the folder that ``page`` is to lie in is not there.
    """
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: name a folder with -o")
    if page is not None and page.is_dir():
        raise ConfigError(f"{page} is a folder: name a file in it with --markdown")
    if page is None or (folder is not None and page.resolve().parent == folder.resolve()):
        return
    if not page.resolve().parent.is_dir():
        raise ConfigError(f"there is no folder {page.parent}")
