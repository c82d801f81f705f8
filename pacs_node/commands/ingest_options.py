"""The options of `pacs-node ingest`, apart from `pacs_node.cli` for their number; nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["ingest"]

Twin = Annotated[
    str | None,
    typer.Option(
        help="Which files they are: a folder in SOURCE, the ending of a name (_cxr), or words of a SeriesDescription.",
        show_default="by the usual names",
    ),
]


def ingest(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder with a set of pairs; it is only read.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Gets the pairs; may hold other sets.")
    ],
    layout: Annotated[
        Literal["auto", "szch", "jsrt", "folders", "suffixes", "dicom"],
        typer.Option("--layout", help="How SOURCE is laid out; auto finds out."),
    ] = "auto",
    cxr: Twin = None,
    soft: Twin = None,
    patient: Annotated[
        str | None,
        typer.Option(
            "--patient",
            metavar="REGEX",
            help="Finds the patient in a file's name (its first group, or all of it), so that pairs of one patient "
            "stay in one split.",
            show_default="PatientID, JSRT number, or the whole name",
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=256, max=4096, help="Rows and columns, px.")] = 1024,
    polarity: Annotated[
        Literal["auto", "positive", "negative"],
        typer.Option("--polarity", help="Of the radiographs: lungs dark, or bright; auto looks at each."),
    ] = "auto",
    register: Annotated[
        bool, typer.Option("--register/--no-register", help="Lay each soft-tissue image onto its radiograph.")
    ] = True,
    deform: Annotated[
        bool, typer.Option("--deform", help="Also warp it smoothly, where heart or breath moved between exposures.")
    ] = False,
    max_residual: Annotated[
        float, typer.Option("--max-residual", min=0.0, help="Refuse pairs with more displacement left, px of 1024.")
    ] = 1.5,
    clahe: Annotated[
        float | None,
        typer.Option("--clahe", min=0.0, max=1.0, help="Equalise contrast locally; clip limit, .01 is mild."),
    ] = None,
    tone: Annotated[
        Literal["auto", "own", "cxr"],
        typer.Option("--tone", help="Of the twins when read: as delivered, or fitted to the radiograph's."),
    ] = "auto",
    name: Annotated[str | None, typer.Option("--name", help="Of the set in the manifest; else its layout's.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Of the set, for the manifest.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the split 8:1:1.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Pairs made at once, by processes.")] = 1,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
    ] = False,
) -> None:
    """Bring pairs of radiographs and soft-tissue images to one form, for training and evaluation.

    Twins are found, turned positive, registered, resized and split by patient; FOLDER/manifest.json says what was
    done, without names and ids. What is done is not done again. Exit code 1 if any file was left out.
    """
    from pacs_node.commands.ingest import order_of, run

    choice = {"layout": layout, "cxr": cxr, "soft": soft, "patient": patient}
    recipe = {"size": size, "polarity": polarity, "register": register, "deform": deform, "clahe": clahe}
    recipe |= {"max_residual_px": max_residual}
    rest = {"name": name, "licence": licence, "tone": tone, "split_seed": seed, "workers": workers}
    order = order_of((source, output), choice, recipe, rest)
    raise typer.Exit(run(order, dry_run=dry_run, as_json=json))
