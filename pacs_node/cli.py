"""The command line: parse, import one command, run it, and turn any error into a message and an exit code.

Nothing heavy is imported here: `pacs-node --help` loads neither torch nor onnxruntime nor the job queue.
"""

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pacs_node import __version__
from pacs_node.commands.ablate_options import ablate
from pacs_node.commands.bench_options import bench
from pacs_node.commands.compare_options import compare
from pacs_node.commands.evaluate_options import evaluate
from pacs_node.commands.ingest_options import ingest
from pacs_node.commands.reader_study_options import reader_study_app
from pacs_node.commands.simulate_options import simulate
from pacs_node.commands.sweep_options import sweep
from pacs_node.commands.train_options import train

__all__ = ["app", "main"]

EXAMPLES = "\n\n[bold]Examples[/bold]\n\n"

app = typer.Typer(
    name="pacs-node",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # errors are shown by `main`, in one place
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Research use only. Exit codes: 0 done, 1 something was refused or failed, 2 usage or configuration, "
    "3 model or runtime, 4 may work later, 70 a mistake in pacs-node, 130 interrupted.",
)
config_app = typer.Typer(no_args_is_help=True, help="Look at the settings.")
app.add_typer(config_app, name="config")
app.add_typer(reader_study_app, name="reader-study")

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings; else ./config.toml, else the packaged one.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pacs-node {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """A node beside a PACS that returns a soft-tissue companion for every chest radiograph. Research use only.

    Start with [bold]pacs-node demo[/bold], which needs no PACS, or [bold]pacs-node serve[/bold].
    """


@app.command(
    epilog=f"{EXAMPLES}pacs-node serve\n\npacs-node serve --config /etc/pacs-node.toml\n\n"
    "PACS_NODE_NODE__PORT=104 pacs-node serve"
)
def serve(
    config: Config = None,
    *,
    receive_only: Annotated[
        bool, typer.Option("--receive-only", help="Take and queue images, and process them when served without this.")
    ] = False,
) -> None:
    """Receive radiographs, make companions and send them to their destinations, until SIGTERM or Ctrl-C."""
    from pacs_node.commands.serve import run

    _leave(run(config, receive_only=receive_only))


@app.command(
    epilog=f"{EXAMPLES}pacs-node send radiograph.dcm\n\npacs-node send study/ --to pacs\n\n"
    "pacs-node send study/ --to 10.0.0.5:104 --aet ARCHIVE --json"
)
def send(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="DICOM files, or folders that are searched for them.")
    ],
    to: Annotated[
        str | None,
        typer.Option("--to", help="A peer's name or HOST:PORT; else the node itself.", metavar="NAME|HOST:PORT"),
    ] = None,
    aet: Annotated[
        str | None, typer.Option("--aet", help="Called AE title.", show_default="the peer's, or ANY-SCP")
    ] = None,
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """Send files by C-STORE, to the running node unless told otherwise. Exit code 1 if any was not taken."""
    from pacs_node.commands.send import run

    _leave(run(paths, to=to, called_aet=aet, config=config, as_json=json))


@app.command(
    epilog=f"{EXAMPLES}pacs-node process radiograph.dcm -o companion.dcm\n\n"
    "pacs-node process radiograph.dcm -o companion.dcm --preview before_after.png"
)
def process(
    radiograph: Annotated[Path, typer.Argument(metavar="IN.dcm", help="A DICOM file with a frontal chest radiograph.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the companion is written.")],
    preview: Annotated[
        Path | None, typer.Option("--preview", help="A PNG: source, companion and bone layer side by side.")
    ] = None,
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """Make the companion of one file, without any network."""
    from pacs_node.commands.process import run

    _leave(run(radiograph, output, preview=preview, config=config, as_json=json))


@app.command(epilog=f"{EXAMPLES}pacs-node status\n\npacs-node status --json | jq .queue")
def status(config: Config = None, *, json: Json = False) -> None:
    """Show the queue and the last results, whether the node is running or not."""
    from pacs_node.commands.status import run

    _leave(run(config, as_json=json))


@app.command(epilog=f"{EXAMPLES}pacs-node audit --limit 20\n\npacs-node audit --study 1.2.840.113619.2.1 --json")
def audit(
    study: Annotated[str | None, typer.Option("--study", help="Only events of this StudyInstanceUID.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10**9, help="The newest events, at most this many.")
    ] = 100,
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """Print the audit trail, oldest event first."""
    from pacs_node.commands.audit import run

    _leave(run(config, study=study, limit=limit, as_json=json))


@app.command(
    epilog=f"{EXAMPLES}pacs-node explain 1.2.840.113619.2.1.7\n\npacs-node explain 2.25.3047 --json | jq .events"
)
def explain(
    uid: Annotated[str, typer.Argument(metavar="UID", help="SOPInstanceUID of a source or of something derived.")],
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """Tell the whole history of one instance: received, made, refused, sent. Exit code 1 if nothing is known."""
    from pacs_node.commands.explain import run

    _leave(run(uid, config=config, as_json=json))


@app.command(
    epilog=f"{EXAMPLES}pacs-node reproduce companion.dcm --source radiograph.dcm\n\n"
    "pacs-node reproduce 2.25.3047 --source radiograph.dcm --json"
)
def reproduce(
    companion: Annotated[
        str, typer.Argument(metavar="COMPANION.dcm|UID", help="A companion or bone image, or its SOPInstanceUID.")
    ],
    source: Annotated[Path, typer.Option("--source", help="The radiograph it was made of, fetched from the PACS.")],
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """Make a companion again from its source and compare the pixels. Exit code 0 identical, 1 not.

    With a UID the pixels are compared with the digest that the audit trail keeps.
    """
    from pacs_node.commands.reproduce import run

    _leave(run(companion, source, config=config, as_json=json))


@app.command(
    "export-onnx",
    epilog=f"{EXAMPLES}pacs-node export-onnx --checkpoint runs/first -o my-bundle\n\n"
    "pacs-node export-onnx --bundle default -o smaller --precision fp16\n\n"
    "pacs-node export-onnx --bundle default -o for-cuda-graphs --fixed\n\n"
    "pacs-node export-onnx --baseline runs/first/baselines/gusarev -o gusarev",
)
def export_onnx(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new bundle.")],
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="Folder of a training run.")] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help='A bundle to export anew, "default" or "careful".')
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="A rival: RUN/baselines/NAME; takes --force and --json only.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="How weights are stored: fp32, or fp16, with graphs that compute in it too."),
    ] = None,
    fixed: Annotated[
        bool | None,
        typer.Option(
            "--fixed/--dynamic", help="Graphs for the grid only, or for images of any size.", show_default=False
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the model; else the source's.")] = None,
    model_version: Annotated[str | None, typer.Option("--model-version", help="Its version.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, max=1000, help="Network evaluations.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE for bundle.json, as fusion.strength=0.75.", show_default=False),
    ] = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also into a folder with other files, which are kept.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a bundle (ONNX graphs, weights, digests) from a training run or from another bundle; or a rival.

    The graphs have to compute what the trained modules compute, else nothing is written and the exit code is 3.
    """
    from pacs_node.commands.export_onnx import Source, parse_settings, run

    facts = {"precision": precision, "name": name, "version": model_version, "steps": steps}
    facts |= {"shapes": None if fixed is None else "fixed" if fixed else "dynamic"}
    facts |= parse_settings(settings or [])
    _leave(run(output, Source(checkpoint, bundle, baseline), facts, force=force, as_json=json))


@app.command(epilog=f"{EXAMPLES}pacs-node demo\n\npacs-node demo --out /tmp/demo --seed 7")
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the radiograph, the companion and the PNG.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which simulated patient.")] = 18,
    *,
    json: Json = False,
) -> None:
    """Show the whole way on this machine: a PACS of its own, the node, a simulated radiograph, its companion."""
    from pacs_node.commands.demo import run

    _leave(run(out, seed=seed, as_json=json))


@config_app.command("check", epilog=f"{EXAMPLES}pacs-node config check\n\npacs-node config check -c other.toml --json")
def config_check(config: Config = None, *, json: Json = False) -> None:
    """Check the settings and the bundle; every problem at once, exit code 2 (settings) or 3 (bundle)."""
    from pacs_node.commands.config import check

    _leave(check(config, as_json=json))


@config_app.command("show", epilog=f"{EXAMPLES}pacs-node config show\n\npacs-node config show --json | jq .node")
def config_show(config: Config = None, *, json: Json = False) -> None:
    """Print the settings in effect, after file and environment."""
    from pacs_node.commands.config import show

    _leave(show(config, as_json=json))


@config_app.command("reference", epilog=f"{EXAMPLES}pacs-node config reference > docs/configuration_reference.md")
def config_reference() -> None:
    """Print every key with its default, the values it takes and what it does, as Markdown."""
    from pacs_node.commands.config import reference

    _leave(reference())


app.command(
    epilog=f"{EXAMPLES}pacs-node train autoencoder -o runs/first\n\n"
    "pacs-node train autoencoder -o runs/first --radiographs cxr/ --minutes 60\n\n"
    "pacs-node train diffusion -o runs/first --validate pairs/\n\n"
    "pacs-node train refiner -o runs/first --validate pairs/\n\n"
    "pacs-node train --baseline resnet_bs -o runs/first --data ingested/ --cpu-minutes 30\n\n"
    "pacs-node train diffusion -o runs/tuned --from runs/first --data ingested/ --steps 200\n\n"
    "pacs-node train all -o runs/own --data ingested/ --preset default\n\n"
    "torchrun --standalone --nproc-per-node 4 -m pacs_node train diffusion -o runs/own --data ingested/",
)(train)


app.command(
    epilog=f"{EXAMPLES}pacs-node simulate -n 8 -o simulated --preview sheet.png\n\n"
    "pacs-node simulate -n 500 -o simulated --ct scans/ --seed 3 --workers 4"
)(simulate)


app.command(
    epilog=f"{EXAMPLES}pacs-node ingest SZCH-X-Rays/ -o ingested\n\n"
    "pacs-node ingest jsrt/ -o ingested --dry-run\n\n"
    "pacs-node ingest pictures/ -o ingested --cxr _before --soft _after --patient '^[0-9]+'"
)(ingest)


app.command(
    epilog=f"{EXAMPLES}pacs-node evaluate --pairs pairs/ -o report\n\n"
    "pacs-node evaluate --bundle my-bundle --pairs ingested/ --split test --control runs/first/control -o report\n\n"
    "pacs-node evaluate --choose runs/first --choose runs/second --pairs pairs/\n\n"
    "pacs-node evaluate --lesions --radiographs cxr/ --count 30 -o lesions"
)(evaluate)


app.command(
    epilog=f"{EXAMPLES}pacs-node sweep --pairs pairs/ --vary steps=1,2,4,10\n\n"
    "pacs-node sweep --pairs pairs/ --vary offset_noise=0,.1 --vary clipping.omega=0,3,12 --vary clipping.b=1.4,4"
)(sweep)


app.command(
    epilog=f"{EXAMPLES}pacs-node ablate -o runs/ablate --markdown ablation.md\n\n"
    "pacs-node ablate -o runs/ablate --only grid,steps --seeds 3\n\n"
    "pacs-node ablate -o runs/own --data ingested/ --seeds 1\n\npacs-node ablate -o runs/look --quick"
)(ablate)


app.command(
    epilog=f"{EXAMPLES}pacs-node compare -o runs/compare --cpu-minutes 12 --bundle default\n\n"
    "pacs-node compare -o runs/compare --data ingested/ --pairs-test pairs/ --only control,ours\n\n"
    "pacs-node compare -o /tmp/compare --quick",
)(compare)


app.command(
    epilog=f"{EXAMPLES}pacs-node bench --quick\n\npacs-node bench --image radiograph.dcm --json bench.json\n\n"
    "pacs-node bench --device cuda --markdown docs/performance.md\n\n"
    "pacs-node bench --from bench.json"
)(bench)


def _leave(code: int) -> None:
    raise typer.Exit(code)


def _silence_libraries() -> None:
    """Their warnings and messages quote data sets; what a person has to know is said by us."""
    warnings.simplefilter("ignore")
    for name in ("pydicom", "pynetdicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _open_closed_streams() -> None:
    """Who started us may have closed them, as `>&-` does; what is said then goes nowhere."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the only place where errors end.

    Parameters
    ----------
    arguments : without the program's name; None takes those of the process.

    Returns
    -------
    int, the exit code, see `pacs_node.commands.errors.ExitCode`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:  # the process is ours, not a test's
        _silence_libraries()
        _open_closed_streams()
    try:
        app(words, prog_name="pacs-node")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the edge: every error ends here)
        from pacs_node.commands.errors import report

        return report(error, debug="--debug" in words)
    return 0
