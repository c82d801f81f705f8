"""The options of `pacs-node bench`, apart from `pacs_node.cli` for their number; nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["bench"]


def bench(
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE.dcm", help="A radiograph.", show_default="a simulated one, 2048 x 2048"),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help='Folder of a bundle, or "default".', show_default="the settings'")
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
    *,
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
    """
    from pacs_node.commands.bench import Order, run

    order = Order(image, bundle, device, threads, repeat, batches, quick, sizes, config)
    raise typer.Exit(run(order, results=results, markdown=markdown, show=show))
