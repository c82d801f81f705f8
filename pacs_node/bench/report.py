"""A report as a document: where it was measured, its tables, and what must be known to read them."""

from typing import Any

from pacs_node.bench.markdown import as_markdown
from pacs_node.bench.tables import all_tables, size_tables

__all__ = ["FORMAT", "document_bodies", "environment_facts"]

FORMAT = 1
NO_GPU = "GPU: not measured on this machine, which has none; `pacs-node bench --device cuda` measures everything there."


def environment_facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value, for people."""
    there = report["environment"]
    bundle = report.get("bundle")
    facts = [
        ("measured", f"{there['date']}, commit {there['commit'] or 'unknown'}"),
        ("processor", f"{there['cpu']}, {there['cores']} cores, {there['threads']} threads, {there['memory_gib']} GiB"),
        ("GPU", there["gpu"] or "none"),
        ("versions", ", ".join(f"{name} {version}" for name, version in _software(there).items())),
        ("load at the start", str(there["load_1min"])),
    ]
    if bundle:
        way = f"{bundle['views']} views, steps {bundle['steps']}, grid {bundle['grid']}"
        facts.insert(0, ("network", f"{bundle['name']} {bundle['version']}, {way}"))
    return facts


def _software(there: dict[str, Any]) -> dict[str, str]:
    return {"Python": there["python"], **there["versions"]}


def document_bodies(report: dict[str, Any]) -> dict[str, str]:
    """What belongs between which marks of a document: `bench` or `bench-cuda` by the device, and `sizes`."""
    on_cuda = report["environment"]["device"] == "cuda"
    name = "bench-cuda" if on_cuda else "bench"
    head = "\n".join(f"- {label}: {value}" for label, value in environment_facts(report))
    notes = [f"**Note:** {warning}." for warning in report.get("warnings") or []]
    if not on_cuda and not report["environment"]["gpu"]:
        notes.append(NO_GPU)
    bodies = {name: "\n\n".join([head, as_markdown(all_tables(report), notes)])}
    if sizes := size_tables(report):
        bodies["sizes"] = as_markdown(sizes, [head])
    return bodies
