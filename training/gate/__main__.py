"""``python -m training.gate films | train | evaluate | fields``: how the classifier of the gate was made."""

import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from training.gate.evaluate import confusion, fold_networks, markdown, shown
from training.gate.fields import LARGEST, outcomes, table
from training.gate.film import FOLDS, Pool
from training.gate.gather import gather, load_films, make_pool
from training.gate.train import EVERY_FOLD, Plan, fit, write_weights

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(help="Where films, thumbnails and networks lie.")]
POOL = "pool.npz"


@app.command()
def films(
    folder: Folder,
    data: Annotated[Path, typer.Option("--data", help="Has cxr/, dicom/, dicom_not_chest/, pairs/ and ct/.")],
) -> None:
    """Gather films of every kind and make the pool of thumbnails: about twenty minutes on one core."""
    torch.set_num_threads(1)
    count = gather(data, folder)
    pool = make_pool(folder)
    pool.save(folder / POOL)
    _say(f"{count} films, {len(pool.kind)} thumbnails in {folder}")


@app.command()
def train(
    folder: Folder,
    fold: Annotated[
        int | None, typer.Option("--fold", min=EVERY_FOLD, max=FOLDS - 1, help="Only this one; -1 is the one to ship.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1)] = Plan().steps,
) -> None:
    """Fit one network without each fold, and one on everything: ``frontal_chest.npz``, for pacs_node/imaging/."""
    torch.set_num_threads(1)
    pool, plan = Pool.load(folder / POOL), Plan(steps=steps)
    for left_out in range(EVERY_FOLD, FOLDS) if fold is None else (fold,):
        name = "frontal_chest.npz" if left_out == EVERY_FOLD else f"fold-{left_out}.npz"
        note = f"training.gate, {len(pool.kind)} thumbnails, {plan}, fold left out: {left_out}"
        write_weights(fit(pool, left_out, plan), folder / name, note)
        _say(f"{folder / name} written")


@app.command()
def evaluate(
    folder: Folder,
    *,
    resubstitution: Annotated[
        bool, typer.Option("--resubstitution", help="Judge with the shipped network, which saw all of it.")
    ] = False,
) -> None:
    """Print the confusion table; without an option every picture is judged by a network that never saw it."""
    networks = None if resubstitution else fold_networks(folder)
    _say(markdown(confusion(shown(load_films(folder)), networks)))


@app.command()
def fields(
    count: Annotated[int, typer.Option("--count", min=1, help="Fields of every kind.")] = 300,
    first: Annotated[int, typer.Option("--first", min=0, help="Number of the first; others are other fields.")] = 0,
    largest: Annotated[int, typer.Option("--largest", min=300, help="Pixels of the longest side.")] = LARGEST,
) -> None:
    """Send random fields through decoding and the shipped gate, and print what became of them."""
    _say(table(outcomes(range(first, first + count), largest=largest)))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    app()
