"""Who we are: in our own objects, so that the gate knows them again, and in every association and file.

And what may name an object of anybody's.
"""

from pacs_node import __version__

__all__ = [
    "CODING_SCHEME",
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION_NAME",
    "MANUFACTURER",
    "is_plausible_uid",
]

MANUFACTURER = "pacs-node"
CODING_SCHEME = "99PACSNODE"  # private designators start with 99 (PS3.16 8.2)

# PS3.7 D.3.3.2, PS3.10 7.1
IMPLEMENTATION_CLASS_UID = "2.25.161569294111089558068166439889800764918"
IMPLEMENTATION_VERSION_NAME = f"PACSNODE_{__version__}"[:16]  # SH
UID_CHARACTERS = frozenset("0123456789.")


def is_plausible_uid(text: str) -> bool:
    """Whether a text can name an instance: digits and dots, at most 64 (PS3.5 9.1)."""
    # real archives hold UIDs with leading zeros in a component, against PS3.5 9.1: those are taken
    return 0 < len(text) <= 64 and set(text) <= UID_CHARACTERS
