"""The options of `pacs-node sweep`, apart from `pacs_node.cli` for its size; nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["sweep"]


def sweep(
    vary: Annotated[
        list[str],
        typer.Option("--vary", metavar="KEY=A,B,...", help="Key of the bundle and values to try; repeatable."),
    ],
    pairs: Annotated[
        Path, typer.Option("--pairs", help="Folder of real pairs NAME_cxr.* and NAME_soft.*, or an ingested one.")
    ],
    bundle: Annotated[str, typer.Option("--bundle", help='Folder of a bundle, "default" or "careful".')] = "default",
    by: Annotated[str, typer.Option("--by", help="Metric that puts the best first.")] = "bsr_tone",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to run.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0: all.")] = 0,
    *,
    lpips: Annotated[bool, typer.Option("--lpips/--no-lpips", help="Perceptual distance: seconds a picture.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
    ] = False,
) -> None:
    """Sample a bundle in every combination of some settings and rank them on real pairs; nothing is trained.

    Keys: steps, sampler (ddim, ddpm, dpmpp_2m), eta, offset_noise, path_noise, clipping.kind, clipping.omega,
    clipping.b, clipping.bound, clipping.percentile, fusion.strength, fusion.highpass_px, views. Choose on pairs that
    you do not report on.
    """
    from pacs_node.commands.sweep import Order, run

    order = Order(bundle, pairs, tuple(vary), by, lpips, device, threads)
    raise typer.Exit(run(order, as_json=json))
