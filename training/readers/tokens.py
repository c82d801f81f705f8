"""The secret in each reader's link: it says who answers, and keeps others on the same machine out."""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from pacs_node.errors import ConfigError
from training.readers.durable import write_atomically

__all__ = ["TOKENS", "keep_tokens"]

TOKENS = "tokens.json"
BYTES = 16


def keep_tokens(folder: Path, readers: Sequence[str]) -> dict[str, str]:
    """Reader -> token; those that are missing are drawn and kept, so that a link lives as long as the study.

    Raises
    ------
    ConfigError
        The file is damaged; removing it makes new links.
    DiskFull
    """
    path = folder / TOKENS
    damaged = f"{path} cannot be read: remove it, and every reader gets a new link"
    try:
        found = json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise ConfigError(damaged) from error
    if not isinstance(found, dict):
        raise ConfigError(damaged)
    tokens = {reader: str(found[reader]) if reader in found else secrets.token_urlsafe(BYTES) for reader in readers}
    if tokens != found:
        write_atomically(path, json.dumps(tokens, indent=1).encode(), mode=0o600)
    return tokens
