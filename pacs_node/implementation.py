"""How this software names itself in every association and file (PS3.7 D.3.3.2, PS3.10 7.1)."""

from pacs_node import __version__

__all__ = ["IMPLEMENTATION_CLASS_UID", "IMPLEMENTATION_VERSION_NAME"]

IMPLEMENTATION_CLASS_UID = "2.25.161569294111089558068166439889800764918"
IMPLEMENTATION_VERSION_NAME = f"PACSNODE_{__version__}"[:16]  # SH
