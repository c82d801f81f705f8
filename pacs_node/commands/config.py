"""`pacs-node config ...`: check, show, and the reference of every key."""

import json
from pathlib import Path
from typing import Any

from pacs_node.commands.terminal import print_json, say, stdout, table
from pacs_node.config import Settings, config_file, load_settings, packaged_config_file
from pacs_node.config_schema import allowed, schema_at
from pacs_node.engine.load import load_bundle

__all__ = ["check", "reference", "reference_text", "show"]

REFERENCE_HEAD = """\
<!-- Made by `pacs-node config reference`; a test keeps it current. -->

| key | default | takes | what it does |
|---|---|---|---|
"""


def check(config: Path | None, *, as_json: bool) -> int:
    """Load settings and verify the bundle; errors leave through the edge."""
    source = config_file(config)
    settings = load_settings(config)
    bundle = load_bundle(settings.model.bundle)
    facts = {
        "file": str(source.resolve()),
        "listens_as": f"{settings.node.ae_title}@{settings.node.host}:{settings.node.port}",
        "destinations": list(settings.routing.destinations),
        "data_dir": str(settings.node.data_dir),
        "bundle": f"{bundle.spec.name} {bundle.spec.version}",
        "bundle_digest": bundle.digest,
    }
    if as_json:
        print_json(facts)
        return 0
    stdout().print(table(("what", "value"), [(key.replace("_", " "), _text(value)) for key, value in facts.items()]))
    if not settings.routing.destinations:
        say("no destination is configured: companions are made but not kept")
    return 0


def show(config: Path | None, *, as_json: bool) -> int:
    """Print every setting in effect."""
    settings = load_settings(config)
    if as_json:
        print_json(settings.model_dump(mode="json"))
        return 0
    rows = [(key, _text(value)) for key, value in _flat(settings.model_dump(mode="json"), "")]
    stdout().print(table(("key", "value"), rows))
    return 0


def reference() -> int:
    """Print the reference of every key."""
    print(reference_text(), end="")  # noqa: T201 (the result of the command, to be redirected into a file)
    return 0


def reference_text() -> str:
    """Every key as one row of a Markdown table: default, allowed values, and the comment of config.toml."""
    schema = Settings.model_json_schema()
    rows = []
    for key, default, comment in _documented(packaged_config_file()):
        keys: list[str | int] = [*key.split(".")]
        if keys[0] == "peers":
            keys.insert(1, 0)
        takes = allowed(schema_at(schema, keys) or {})
        cells = (f"`{key}`", f"`{default}`", takes, comment)
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n")
    return REFERENCE_HEAD + "".join(rows)


def _documented(path: Path) -> list[tuple[str, str, str]]:
    """(key, default as written, comment) of each line of the shipped file, in its order."""
    found, section = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.split("#")[0].strip().strip("[]")
        elif " = " in line and not line.startswith("#"):
            value, _, comment = line.partition(" = ")[2].partition("  #")
            found.append((f"{section}.{line.partition(' = ')[0].strip()}", value.strip(), comment.strip(" #")))
    return found


def _flat(value: Any, prefix: str) -> list[tuple[str, object]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    rows: list[tuple[str, object]] = []
    for key, inner in items:
        nested = isinstance(inner, dict) or (isinstance(inner, list) and inner and isinstance(inner[0], dict))
        rows += _flat(inner, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", inner)]
    return rows


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
