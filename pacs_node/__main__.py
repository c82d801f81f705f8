"""``python -m pacs_node`` is ``pacs-node``."""

from pacs_node.cli import app

if __name__ == "__main__":
    app()
