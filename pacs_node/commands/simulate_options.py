"""The options of `pacs-node simulate`, apart from `pacs_node.cli` for their number; nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["simulate"]


def simulate(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Gets the pairs; what is there is not made again.")
    ],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Pairs in the end.")] = 8,
    source: Annotated[
        Literal["procedural", "ct", "mix"] | None,
        typer.Option(
            "--source",
            help="Where bodies and bones come from: drawn people, CT, or the bones of one in the body of another.",
            show_default="mix with --ct, else procedural",
        ),
    ] = None,
    ct: Annotated[
        Path | None,
        typer.Option(
            "--ct",
            metavar="FOLDER",
            help="CT of the thorax, NIfTI or DICOM series; NAME_mask.nii.gz beside NAME.nii.gz says what is bone.",
        ),
    ] = None,
    preview: Annotated[
        Path | None, typer.Option("--preview", metavar="PNG", help="A page with the first pairs and their bones.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=9999, help="Other pairs with another seed.")] = 0,
    size: Annotated[
        int, typer.Option("--size", min=64, max=2048, help="Rows and columns, px; best a power of 2.")
    ] = 512,
    workers: Annotated[int, typer.Option("--workers", min=1, help="People and pairs made at once, by processes.")] = 1,
    motion: Annotated[
        float,
        typer.Option("--motion", min=0.0, max=0.02, help="How far the heart moves between the twins, as of two shots."),
    ] = 0.0,
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
    ] = False,
) -> None:
    """Simulate radiographs with their twins without bone, to look at, to train on, or to measure with.

    Each pair is NAME_cxr.png and NAME_soft.png (16 bit), NAME_bone.png (their difference) and NAME.json (how it was
    made): a folder that pacs-node ingest and pacs-node evaluate --pairs read. The same seed gives the same pairs.
    """
    from pacs_node.commands.simulate import Request, run

    chosen = source or ("mix" if ct else "procedural")
    request = Request(count, output, chosen, ct, preview, seed, size, workers, motion)
    raise typer.Exit(run(request, as_json=json))
