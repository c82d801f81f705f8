"""How our own objects are known again: written by the derivation, read by the gate."""

__all__ = ["CODING_SCHEME", "MANUFACTURER"]

MANUFACTURER = "pacs-node"
CODING_SCHEME = "99PACSNODE"  # private designators start with 99 (PS3.16 8.2)
