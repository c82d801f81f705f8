"""The options of `pacs-node evaluate`, apart from `pacs_node.cli` for their number; nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["evaluate"]


def evaluate(
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="Folder of pairs NAME_cxr.* and NAME_soft.*, or an ingested one."),
    ] = None,
    bundle: Annotated[str, typer.Option("--bundle", help='Folder of a bundle, "default" or "careful".')] = "default",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for report.html, report.md and evaluation.json.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="One more page, with tables and without pictures.")
    ] = None,
    steps: Annotated[str, typer.Option("--steps", help="Network evaluations to try; 1000 takes long.")] = "1,2,4,10,50",
    control: Annotated[
        Path | None, typer.Option("--control", help="Checkpoint of the one-pass U-Net, or the run that holds it.")
    ] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option("--baseline", help="A rival: RUN/baselines/NAME, or what export-onnx wrote of it; repeatable."),
    ] = None,
    folds: Annotated[
        Path | None,
        typer.Option("--folds", help="Folder of fine-tuned bundles, each named after the pair that it leaves out."),
    ] = None,
    radiographs: Annotated[
        Path | None, typer.Option("--radiographs", help="Folder of radiographs without twins; the last 30 are used.")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"] | None, typer.Option("--split", help="Of an ingested folder.")
    ] = None,
    choose: Annotated[
        list[Path] | None,
        typer.Option("--choose", help="Rank the checkpoints of this training run instead; repeatable."),
    ] = None,
    lesions: Annotated[
        bool,
        typer.Option("--lesions", help="Put lesions into --radiographs or --pairs instead, and see what is left."),
    ] = False,
    count: Annotated[int, typer.Option("--count", min=1, help="Radiographs of each folder, for --lesions.")] = 30,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what --lesions puts in, and where.")] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where the bundle runs.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0: all.")] = 0,
    lpips_side: Annotated[
        int, typer.Option("--lpips-side", min=0, help="Longer side for LPIPS, px; 1024 takes 4 times as long, 0 none.")
    ] = 512,
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
    ] = False,
) -> None:
    """Measure a bundle on real pairs, beside the input, the best tone curve, a control and the truth.

    Everything goes through the service's own pipeline. docs/evaluation_guide.md says how to read the figures.
    """
    from pacs_node.commands.evaluate import Order, parse_steps, run
    from pacs_node.config import Device

    if lesions:
        from pacs_node.commands.lesions import LesionOrder, run_lesions

        what, made = (radiographs, pairs, count, seed), (output, markdown)
        asked = LesionOrder(bundle, *what, *made, Device(device), threads, split)
        raise typer.Exit(run_lesions(asked, as_json_document=json))
    if pairs is None:
        raise typer.BadParameter("name a folder of pairs, or take --lesions with --radiographs", param_hint="--pairs")
    data, targets = (pairs, split, parse_steps(steps), control, folds, radiographs), (output, markdown)
    order = Order(bundle, *data, *targets, lpips_side, Device(device), threads, tuple(baseline or ()))
    raise typer.Exit(run(order, tuple(choose or ()), as_json_document=json))
