"""Who we are: in our own objects, so that the gate knows them again, and in every association and file."""

from pacs_node import __version__

__all__ = ["CODING_SCHEME", "IMPLEMENTATION_CLASS_UID", "IMPLEMENTATION_VERSION_NAME", "MANUFACTURER"]

MANUFACTURER = "pacs-node"
CODING_SCHEME = "99PACSNODE"  # private designators start with 99 (PS3.16 8.2)

# PS3.7 D.3.3.2, PS3.10 7.1
IMPLEMENTATION_CLASS_UID = "2.25.161569294111089558068166439889800764918"
IMPLEMENTATION_VERSION_NAME = f"PACSNODE_{__version__}"[:16]  # SH
