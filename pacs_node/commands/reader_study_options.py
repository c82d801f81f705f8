"""The options of `pacs-node reader-study`, apart from `pacs_node.cli` for their number; nothing heavy is loaded."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["reader_study_app"]

EXAMPLES = "\n\n[bold]Examples[/bold]\n\n"
PORT = 8765

reader_study_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Let readers judge radiographs with and without companions: make a blinded study, read it, score it.",
)

Study = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study, made by reader-study make.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]


@reader_study_app.command(
    epilog=f"{EXAMPLES}pacs-node reader-study make studies/ -o study --truth lesions.csv --readers 3\n\n"
    "pacs-node reader-study make simulated/ -o study --practice 2 --seed 7 --key key.csv"
)
def make(
    studies: Annotated[
        Path,
        typer.Argument(
            metavar="STUDIES",
            help="DICOM radiographs with their companions anywhere below, or pairs NAME_cxr.png and NAME_soft.png.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="STUDY", help="Gets the study; one with answers is not replaced.")
    ],
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            metavar="CSV|JSON",
            help="Lesions: columns name,x,y,radius,kind in px; a name alone has none, who is absent is not known.",
        ),
    ] = None,
    readers: Annotated[int, typer.Option("--readers", min=1, max=99, help="How many: r1, r2 and on; best even.")] = 2,
    practice: Annotated[
        int, typer.Option("--practice", min=0, help="Of the cases, this many are to practise on and not scored.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Other arms and orders with another seed.")] = 0,
    title: Annotated[str, typer.Option("--title", help="Shown on the page.")] = "Reader study",
    finding: Annotated[str, typer.Option("--finding", help="What readers look for, in one word.")] = "lesion",
    washout: Annotated[
        int, typer.Option("--washout", min=0, help="Days between the two sessions, which the page tells.")
    ] = 28,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="CSV", help="Also write which case is which radiograph; keep it from readers."),
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Make a blinded, randomised, balanced study: every reader reads every case with and without its companion.

    The two readings of a case are in two sessions, to be held apart by a washout; in each session half of the cases
    have the companion. Images lose their headers and names; what is burned into their pixels stays.
    """
    from pacs_node.commands.reader_study import Request, make_command

    request = Request(output, studies, truth, readers, practice, seed, title, finding, washout, key)
    raise typer.Exit(make_command(request, as_json=json))


@reader_study_app.command(
    epilog=f"{EXAMPLES}pacs-node reader-study read study --reader r1\n\n"
    "pacs-node reader-study read study --port 9000 --json"
)
def read(
    study: Study,
    reader: Annotated[
        list[str] | None,
        typer.Option("--reader", help="Whose link works; may be repeated.", show_default="every reader of the study"),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = PORT,
    host: Annotated[
        str, typer.Option("--host", help="Only this machine unless changed; there is no encryption.")
    ] = "127.0.0.1",
    *,
    json: Json = False,
) -> None:
    """Serve the reading page until Ctrl-C; open the printed link in a browser of this machine.

    Every answer is on the disk before the page calls it saved. The same command later goes on where the reader stopped.
    """
    from pacs_node.commands.reader_study import read_command

    raise typer.Exit(read_command(study, reader or (), host=host, port=port, as_json=json))


@reader_study_app.command(
    epilog=f"{EXAMPLES}pacs-node reader-study score study\n\n"
    "pacs-node reader-study score study -o scored --at 0 --at 75\n\n"
    "pacs-node reader-study score study --json | jq .detection"
)
def score(
    study: Study,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Gets report.md with its curves, scores.json and readings.csv."
        ),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="The report alone, for a document.")
    ] = None,
    reader: Annotated[
        list[str] | None,
        typer.Option("--reader", help="Whose readings count; may be repeated.", show_default="every reader"),
    ] = None,
    at: Annotated[
        list[int] | None,
        typer.Option(
            "--at", min=0, max=100, help="Count what is at least so confident; repeatable.", show_default="0 and 50"
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", min=0, max=100, help="Reach of a mark, % of the longer side, where a lesion is smaller."
        ),
    ] = 1.0,
    *,
    json: Json = False,
) -> None:
    """Score what was read: scores of companions, detection with against without, reading time, with 95 % intervals.

    An unfinished study is scored on what is finished, and what is missing is said. Differences are tested for other
    readers and cases (Obuchowski-Rockette with Hillis' degrees of freedom) and for these readers and other cases.
    """
    from pacs_node.commands.reader_study_score import Order, how, run

    raise typer.Exit(run(Order(study, output, markdown, how(reader, at, tolerance)), as_json_document=json))
