"""What a configuration key may hold, in words, read from the JSON schema of the settings.

Pure functions on the dictionary that pydantic makes; they know nothing of our settings.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["allowed", "known_keys", "nearest_key", "schema_at"]

Schema = dict[str, Any]


def _resolved(node: Schema, root: Schema) -> Schema:
    """The node with its ``$ref`` followed; what stands beside the reference wins (JSON Schema 2020-12, 8.2.3)."""
    reference = node.get("$ref")
    if reference is None:
        return node
    target: Schema = root["$defs"][str(reference).rsplit("/", 1)[-1]]
    return _resolved(target, root) | {key: value for key, value in node.items() if key != "$ref"}


def schema_at(root: Schema, keys: Sequence[str | int]) -> Schema | None:
    """The schema of one key, such as ``("peers", 0, "port")``; None when no such key is known."""
    node = _resolved(root, root)
    for key in keys:
        child = node.get("items") if isinstance(key, int) else node.get("properties", {}).get(key)
        if child is None:
            return None
        node = _resolved(child, root)
    return node


def known_keys(root: Schema) -> list[str]:
    """Every key as ``table.key``, tables included, in the order of the settings; lists are written without an index."""
    return list(_walk(_resolved(root, root), root, ""))


def _walk(node: Schema, root: Schema, prefix: str) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path
        inner = _resolved(child, root)
        yield from _walk(_resolved(inner.get("items", inner), root), root, f"{path}.")


def nearest_key(root: Schema, unknown: str) -> str | None:
    """The known key that was most likely meant: the same name in another table, else the most similar name."""
    table, _, leaf = unknown.rpartition(".")
    leaves: dict[str, str] = {}
    for key in known_keys(root):
        owner, _, name = key.rpartition(".")
        if name not in leaves or owner == table:
            leaves[name] = key
    siblings = [name for name, key in leaves.items() if key.rpartition(".")[0] == table]
    for names in ([leaf], siblings, list(leaves)):
        close = difflib.get_close_matches(leaf, [name for name in names if name in leaves], n=1)
        if close:
            return leaves[close[0]]
    return None


def allowed(node: Schema) -> str:
    """The values that a key takes, as a phrase such as ``an integer from 1 to 65535``."""
    if "enum" in node or "const" in node:
        return "one of " + ", ".join(str(value) for value in node.get("enum", [node.get("const")]))
    if "description" in node and "properties" not in node:
        return str(node["description"])
    kind = node.get("type")
    if kind in ("integer", "number"):
        return ("an integer" if kind == "integer" else "a number") + _range(node)
    if kind == "array":
        return "a list"
    return {"boolean": "true or false", "object": "a table"}.get(str(kind), "a text" + _length(node))


def _range(node: Schema) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        above = node.get("exclusiveMaximum")
        return f" of at least {low}" + (f" and below {above}" if above is not None else "")
    if "exclusiveMinimum" in node:
        return f" above {node['exclusiveMinimum']:g}" + (f" and up to {high:g}" if high is not None else "")
    return ""


def _length(node: Schema) -> str:
    low, high = node.get("minLength"), node.get("maxLength")
    if high is not None:
        return f" of {low or 0} to {high} characters"
    return ", not empty" if low else ""
