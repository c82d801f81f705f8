"""`pacs-node serve`: settings, logging, then the service until it is told to stop."""

import logging
import sys
from pathlib import Path

from pacs_node.config import config_file, load_settings
from pacs_node.service import run_service

__all__ = ["run"]

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run(config: Path | None, *, receive_only: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    logging.getLogger("pacs_node").info("settings from %s", config_file(config))
    return run_service(load_settings(config), process=not receive_only)
