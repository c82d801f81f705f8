"""The options of `pacs-node bench`, apart from `pacs_node.cli` for their number; nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["bench"]

TRAFFIC = "Traffic: the node among real peers, in place of the rest"


def bench(
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE.dcm", help="A radiograph.", show_default="a simulated one, 2048 x 2048"),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", help='Folder of a bundle, "default" or "careful".', show_default="the settings'"),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option("--device", help="Where networks run; auto takes CUDA where it is found."),
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=0, help="CPU threads; 0: all.", show_default="the settings'")
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Samples of each timing, after one to warm up.")] = 10,
    batches: Annotated[
        str | None,
        typer.Option("--batches", metavar="N,N,...", help="Images at once.", show_default="1,2; on CUDA up to 64"),
    ] = None,
    results: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write the figures; - is stdout, and nothing else.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="A document: tables go between its marks <!-- bench -->."),
    ] = None,
    show: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Measure nothing: show what --json wrote.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings; else ./config.toml, else the packaged one.", show_default=False),
    ] = None,
    soak: Annotated[
        int | None,
        typer.Option(
            "--soak",
            min=1,
            metavar="N",
            rich_help_panel=TRAFFIC,
            help="Send N mixed images through Orthanc and the node.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            rich_help_panel=TRAFFIC,
            help="Folder of radiographs, DICOM or pictures, to send.",
            show_default="simulated ones",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, rich_help_panel=TRAFFIC, help="Samples of each row of --ingest.")
    ] = 5,
    in_flight: Annotated[
        int,
        typer.Option(
            "--in-flight",
            min=1,
            rich_help_panel=TRAFFIC,
            help="Images of --soak on their way at a time; bounds the disk.",
        ),
    ] = 48,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", rich_help_panel=TRAFFIC, help="Folder for soak.csv and soak.svg, memory over time."
        ),
    ] = None,
    *,
    ingest: Annotated[
        bool,
        typer.Option(
            "--ingest", rich_help_panel=TRAFFIC, help="C-STORE images/s beside Orthanc and DCMTK, where installed."
        ),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", rich_help_panel=TRAFFIC, help="Let the archive of --soak keep everything to the end."),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the published network and torch.compile: they take minutes.")
    ] = False,
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Also simulated radiographs of 1024, 2048, 3072 and 4096 px.")
    ] = False,
) -> None:
    """Measure how long a companion takes, stage by stage, and what the same and other networks take beside it.

    Stages are those of the service's own code. The rows that need torch run in processes of their own; without torch
    they say so. Best on a machine that does nothing else: a busy one is warned of.

    --ingest and --soak start a node, and Orthanc and DCMTK where they are installed, in temporary folders on free ports
    of this machine. --soak ends with exit code 1 when a companion is missing or a file is left.
    """
    if ingest or soak is not None:
        from pacs_node.commands.bench_traffic import Results, SoakOrder, run_ingest, run_soak

        to = Results(results, markdown)
        if soak is None:
            raise typer.Exit(run_ingest(rounds, images, to))
        if ingest:
            raise typer.BadParameter("--ingest and --soak are two runs: give one of them")
        raise typer.Exit(run_soak(SoakOrder(soak, images, in_flight, keep, out), to))
    from pacs_node.commands.bench import Order, run

    order = Order(image, bundle, device, threads, repeat, batches, quick, sizes, config)
    raise typer.Exit(run(order, results=results, markdown=markdown, show=show))
