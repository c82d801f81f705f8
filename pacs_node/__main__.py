"""``python -m pacs_node`` is ``pacs-node``."""

import sys

from pacs_node.cli import main

if __name__ == "__main__":
    sys.exit(main())
