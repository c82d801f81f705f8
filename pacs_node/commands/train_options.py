"""The options of `pacs-node train`, apart from `pacs_node.cli` for their number; nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["train"]


def train(
    stage: Annotated[
        Literal["autoencoder", "diffusion", "refiner", "control", "all"] | None,
        typer.Argument(
            metavar="STAGE",
            show_default=False,
            help="[bold]autoencoder[/bold] (image to latents and back), then [bold]diffusion[/bold] (the denoiser on "
            "its latents); [bold]refiner[/bold] (sharpens what the two sample; where the preset has one); "
            "[bold]control[/bold] (a one-pass U-Net to compare with); or [bold]all[/bold]. None with --baseline.",
        ),
    ] = None,
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="The same as -o RUN.", show_default=False)] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="RUN", help="Folder of the training; gone on with if it exists."),
    ] = None,
    baseline: Annotated[
        Literal["gusarev", "mca_net", "resnet_bs", "bs_diff"] | None,
        typer.Option("--baseline", help="Train this rival in the place of a stage, into RUN/baselines/NAME."),
    ] = None,
    scale: Annotated[
        Literal["paper", "small"],
        typer.Option("--scale", help="Sizes of the rival: as published, or small enough for a CPU."),
    ] = "small",
    preset: Annotated[
        str, typer.Option("--preset", help="default, paper, tiny, or the path of a TOML file.")
    ] = "default",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            help="Folder of pairs: of pacs-node ingest or simulate, or pairs/ of a RUN; repeatable; else simulated.",
        ),
    ] = None,
    radiographs: Annotated[
        Path | None, typer.Option("--radiographs", help="Real PNG or JPEG radiographs without twins (autoencoder).")
    ] = None,
    validate: Annotated[
        Path | None, typer.Option("--validate", help="Folder of real pairs to look at; never trained on.")
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Start with the weights of another run, to fine-tune them."),
    ] = None,
    people: Annotated[int, typer.Option("--people", min=1, help="Phantoms that are drawn.")] = 300,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Pairs that are formed of them.")] = 2000,
    framings: Annotated[int, typer.Option("--framings", min=1, help="Random framings that are encoded.")] = 3000,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Of each stage; else the preset's.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.0, help="Stop after this; go on later.")] = None,
    cpu_minutes: Annotated[
        float | None,
        typer.Option("--cpu-minutes", min=0.0, help="Processor time of each stage, all its runs together."),
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Images at once; else the preset's.")] = None,
    accumulate: Annotated[int | None, typer.Option("--accumulate", min=1, help="Batches averaged into a step.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Batches computed at once, by threads.")] = 1,
    device: Annotated[
        str, typer.Option("--device", help="cpu, cuda, cuda:1, or auto: a GPU where there is one.")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random in training.")] = 0,
    *,
    restart: Annotated[bool, typer.Option("--restart", help="Start at step 0 again.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
    ] = False,
) -> None:
    """Train the networks, from simulated pairs or your own (needs the extra [bold]training[/bold]).

    The same command goes on where it was stopped, killed or cut off. Progress: bar, RUN/STAGE/sheets, TensorBoard.
    """
    from pacs_node.commands.train import Order, Rivalry, require_one, run_folder
    from pacs_node.commands.train import run as carry_out

    limits: dict[str, object] = {
        "max_steps": steps,
        "max_minutes": minutes,
        "max_cpu_minutes": cpu_minutes,
        "earlier": earlier,
        "batch": batch,
        "accumulate": accumulate,
        "seed": seed,
    }
    limits |= {"workers": workers, "device": device, "resume": not restart}
    folders = tuple(data or ()), radiographs, validate
    what = require_one(stage, Rivalry(baseline, scale) if baseline else None)
    order = Order(run_folder(run, output), preset, what, (people, pairs, framings), folders, limits)
    raise typer.Exit(carry_out(order, as_json=json))
