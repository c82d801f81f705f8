"""What each command does; `pacs_node.cli` parses, imports one of these modules and shows its errors."""
