"""The options of `pacs-node ablate`, apart from `pacs_node.cli` for their number; nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ablate"]


def ablate(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run; gone on with if it exists.")
    ],
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="STUDY,...",
            help="Of grid, lambda, omega, b, condition, latents, steps; else all of them.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder of pacs-node ingest (its splits train and test) or of simulate (split here by person); else "
            "pairs are simulated.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each cell; more can be added later.")] = 2,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Simulated pairs to train on.")] = 450,
    test_pairs: Annotated[int, typer.Option("--test-pairs", min=1, help="Pairs of other people to measure on.")] = 24,
    data_seed: Annotated[int, typer.Option("--data-seed", min=0, help="Of the simulated pairs.")] = 1,
    preset: Annotated[str, typer.Option("--preset", help="ablation, or the path of a TOML file.")] = "ablation",
    cpu_minutes: Annotated[
        float | None,
        typer.Option(
            "--cpu-minutes",
            min=0.0,
            help="Of processor time that a training gets at most; else it takes the preset's steps, and figures do "
            "not depend on the machine's speed.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 1,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="PAGE.md", help="Write the page there, its plots beside it."),
    ] = None,
    *,
    lpips: Annotated[bool, typer.Option("--lpips/--no-lpips", help="Measure the perceptual distance too.")] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="Everything once through in seconds; the figures say nothing.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
    ] = False,
) -> None:
    """Take the parts of the method out one by one and measure what that costs (needs the extra [bold]training[/bold]).

    Offset noise and thresholding (Table 2 of BS-LDM), lambda, omega and b (Fig. 6), the scaled condition, standardised
    latents, the number of steps: on small networks that predict noise. The same command goes on where it was stopped.
    """
    from pacs_node.commands.ablate import Order, run

    amounts = {"pairs": pairs, "test_pairs": test_pairs, "data_seed": data_seed, "seeds": seeds}
    order = Order(output, only, data, preset, amounts, cpu_minutes, threads, markdown, lpips=lpips, quick=quick)
    raise typer.Exit(run(order, as_json=json))
