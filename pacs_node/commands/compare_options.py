"""The options of `pacs-node compare`, apart from `pacs_node.cli` for their number; nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare"]

QUICK_SIZE = 128  # px; the least that MCA-Net halves seven times


def compare(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Gets trainings, results.json and report.html; gone on with."
        ),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", help="Folder of pairs of ingest or simulate, divided by person; repeatable; else simulated."
        ),
    ] = None,
    pairs_test: Annotated[
        list[Path] | None,
        typer.Option(
            "--pairs-test", help="One more folder of test pairs, as real ones; repeatable, each its own tables."
        ),
    ] = None,
    cpu_minutes: Annotated[
        float, typer.Option("--cpu-minutes", min=0.01, help="Processor time of one thread for each system.")
    ] = 12.0,
    size: Annotated[
        int | None, typer.Option("--size", min=64, help="Rows and columns that all are trained and measured at, px.")
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="Sizes of ours and of the control: compare, default, tiny, or a TOML file.")
    ] = "compare",
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="A,B", help="Of gusarev, mca_net, resnet_bs, bs_diff, control, ours; else all."),
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            "--scale", metavar="NAME=SCALE", help="paper or small, of one rival; repeatable.", show_default=False
        ),
    ] = None,
    load: Annotated[
        list[str] | None,
        typer.Option("--load", metavar="NAME=FOLDER", help="Take over a training instead; repeatable."),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help='What ships, as a row of its own: a folder, "default" or "careful".')
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", help="One more page to pass on, with pictures of simulated people only."),
    ] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=2, help="Pairs to simulate for training, without --data.")] = 400,
    test_pairs: Annotated[
        int, typer.Option("--test-pairs", min=2, help="Pairs of other people to simulate for the test.")
    ] = 60,
    framings: Annotated[int, typer.Option("--framings", min=1, help="Framings that ours encodes once.")] = 1000,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=9998, help="Of the simulation and the training; the test takes the next."),
    ] = 501,
    *,
    lpips: Annotated[bool, typer.Option("--lpips/--no-lpips", help="Perceptual distance.")] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few steps of tiny networks: shows in seconds that everything is there.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
    ] = False,
) -> None:
    """Train the rivals, the control and ours under one budget on the same pairs, and measure all on the same others.

    Prints Table 1 of the paper anew, with honest metrics. The same command goes on where it was stopped.
    """
    from pacs_node.commands.compare import Request, run

    request = Request(
        output=output,
        data=tuple(data or ()),
        pairs_test=tuple(pairs_test or ()),
        cpu_minutes=cpu_minutes,
        size=size or (QUICK_SIZE if quick else None),
        preset="tiny" if quick and preset == "compare" else preset,
        only=only,
        scale=tuple(scale or ()),
        load=tuple(load or ()),
        bundle=bundle,
        markdown=markdown,
        amounts=(6, 3, 4) if quick else (pairs, test_pairs, framings),
        seed=seed,
        lpips=lpips,
        quick=quick,
    )
    raise typer.Exit(run(request, as_json=json))
