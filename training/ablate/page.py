"""The page: how it was made, what is claimed and what was seen, then every study with its plot and its figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pacs_node.bench.markdown import as_markdown
from pacs_node.bench.rows import Grid
from training.ablate.compare import CLEAR, Seen
from training.ablate.findings import findings
from training.ablate.plan import Study, cells_of
from training.ablate.plots import plot
from training.ablate.tables import references, study_table, trainings
from training.evaluate.facts import RESEARCH_USE

__all__ = ["TITLES", "page", "write_page"]

TITLES: dict[Study, str] = {
    "grid": "Offset noise and thresholding (Table 2 of the paper)",
    "lambda": "Lambda, the coefficient of the offset noise (Fig. 6)",
    "omega": "Omega, how fast the bound of dynamic clipping grows (Fig. 6)",
    "b": "b, the bound it begins at (Fig. 6)",
    "condition": "The condition scaled in training, as in the public code",
    "latents": "Latents that are not standardised",
    "steps": "Steps of the sampler",
}
HOW_TO_READ = (
    "**How to read it.** Every cell is one small network, trained and sampled as its row says and otherwise as the "
    "base: offset noise of .1, clean condition, standardised latents, dynamic clipping with the paper's numbers. All "
    "networks of one seed begin with the same weights and see the same framings, times and noises; all cells of one "
    "seed are sampled from the same noise. The sampled layer (radiograph decoded less sample decoded) is subtracted on "
    "the grid and cut at 0. ± is the deviation over the test pairs, each the mean of its seeds. In a comparison ± is "
    f"the error of the mean paired difference; better or worse is said where it is {CLEAR:g} errors from 0 and every "
    "seed says the same. *Collapsed*: further from the truth than the radiograph itself in PSNR, or no numbers at all. "
    "The claims are judged by `bsr_tone`, and a cell that collapsed is worse than one that did not. What the figures "
    "mean is told in [the guide](EVALUATION_GUIDE)."
)
LIMITS = (
    "**What this can and cannot show.** The denoisers are a thousandth of the published size, trained for minutes on "
    "few and small pairs. A part that matters here matters for such networks; the paper's networks were not trained. "
    "The paper's clipping is in units of its own latents, here in deviations of ours."
)


def write_page(seen: Seen, studies: Sequence[Study], path: Path) -> list[Path]:
    """Write the page to ``path`` and the plots beside it, and return what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for study in _complete(seen, studies):
        picture = path.with_name(_picture(path, study))
        picture.write_text(plot(seen, study), encoding="utf-8")
        written.append(picture)
    path.write_text(page(seen, studies, path), encoding="utf-8")
    return [path, *written]


def page(seen: Seen, studies: Sequence[Study], path: Path) -> str:
    """The text of the page at ``path``."""
    there = _complete(seen, studies)
    parts = ["# Ablations and sweeps", f"**{RESEARCH_USE}**", as_markdown([_facts(seen)]), LIMITS, HOW_TO_READ]
    claims = [[each.claim, each.seen, each.agrees or ""] for each in findings(seen, there)]
    parts.append(as_markdown([Grid("Claim by claim", ["claim or question", "seen", "borne out"], claims)]))
    parts.append(as_markdown([references(seen)]))
    for study in there:
        parts.append(f"## {TITLES[study]}\n\n![{TITLES[study]}]({_picture(path, study)})")
        parts.append(as_markdown([study_table(seen, study, "Mean ± deviation over the test pairs")]))
    parts.append("## How long it took\n\n" + as_markdown([trainings(seen)]))
    text = "\n\n".join(parts) + "\n"
    return text.replace("[the guide](EVALUATION_GUIDE)", _guide(path))


def _guide(path: Path) -> str:
    """A link where the page lies among the project's documents, else words."""
    known = path.resolve().parent.parent / "evaluation_guide.md"
    return f"[the guide](../{known.name})" if known.is_file() else "docs/evaluation_guide.md"


def _complete(seen: Seen, studies: Sequence[Study]) -> list[Study]:
    """Studies whose cells are all there."""
    return [study for study in studies if len(seen.known(cells_of(study, seen.values))) == _count(seen, study)]


def _count(seen: Seen, study: Study) -> int:
    return len(cells_of(study, seen.values))


def _picture(path: Path, study: Study) -> str:
    return f"{path.stem}-{study}.svg"


def _facts(seen: Seen) -> Grid:
    document = seen.results.document
    facts, settings = document["facts"], document["settings"]
    preset, budget, machine = settings["preset"], settings["budget"], facts["environment"]
    spent = [document["autoencoder"], *document["trainings"].values(), *document["cells"].values()]
    minutes = sum(float(each["cpu_seconds"]) for each in spent) / 60
    seeds = sorted({int(each["seed"]) for each in document["trainings"].values()})
    rows = [
        ["command", f"`{facts['command']}`"],
        *([name, words] for name, words in facts["data"].items()),
        ["networks", _networks(preset, facts)],
        [
            "sampled",
            f"{preset['diffusion'].get('sampler', 'ddim')}, {preset['diffusion']['sampling_steps']} steps unless said",
        ],
        ["budget", _budget(budget, document)],
        ["seeds", ", ".join(map(str, seeds))],
        ["processor time", f"{minutes:.0f} minutes for all trainings and samples, on {machine['threads']} thread"],
        ["machine", f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"],
        ["versions", ", ".join(f"{name} {number}" for name, number in machine["versions"].items())],
        ["begun", f"{machine['date']}, commit {machine['commit'] or 'unknown'}"],
    ]
    return Grid("How it was made", ["", ""], rows)


def _networks(preset: dict[str, Any], facts: dict[str, Any]) -> str:
    grid, prediction = preset["grid"], preset["denoiser"]["prediction"]
    sizes = f"preset {preset['name']}, grid {grid} x {grid}, predicts {prediction}"
    counted = (
        f"{facts['autoencoder_weights']:,} weights of the autoencoder, {facts['denoiser_weights']:,} of a denoiser"
    )
    return f"{sizes}; {counted}"


def _budget(budget: dict[str, Any], document: dict[str, Any]) -> str:
    each = [float(facts["cpu_seconds"]) / 60 for facts in document["trainings"].values()]
    steps = f"{budget['autoencoder_steps']} steps of the one autoencoder, {budget['diffusion_steps']} of each denoiser"
    bound = f", at most {budget['cpu_minutes']:g} CPU minutes each" if budget["cpu_minutes"] is not None else ""
    return (
        f"{steps} ({min(each):.1f} to {max(each):.1f} CPU minutes each), {budget['framings']} framings encoded{bound}"
    )
