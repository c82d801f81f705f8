"""`pacs-node reproduce`: run again from the source, compare pixels, say identical or how not."""

from dataclasses import asdict
from pathlib import Path

from pydicom import Dataset

from pacs_node.audit import AUDIT_FILE, Audit
from pacs_node.commands.audit import reading
from pacs_node.commands.errors import ExitCode
from pacs_node.commands.terminal import print_json, stderr, stdout, table
from pacs_node.config import Settings, load_settings
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.errors import ConfigError
from pacs_node.imaging.read import open_dataset
from pacs_node.reproduce import compared, made_again

__all__ = ["run"]


def run(companion: str, source: Path, *, config: Path | None, as_json: bool) -> int:
    """Make the image once more and compare.

    Parameters
    ----------
    companion : a file, or a SOP Instance UID whose pixels the audit trail has a digest of.

    Raises
    ------
    ConfigError
        There is no such file or UID, or these settings and this bundle make no such instance of the source.
    Rejected
        The source has no companion.
    """
    if not source.is_file():
        raise ConfigError(f"{source} is not a file; --source wants the radiograph that the companion was made of")
    settings = load_settings(config)
    first: Dataset | str
    if Path(companion).is_file():
        first = open_dataset(Path(companion))
        uid = str(first.SOPInstanceUID)
    else:
        first, uid = _digest_of(settings, companion), companion
    with stderr().status("making it again"):
        bundle = load_bundle(settings.model.bundle)
        engine = open_engine(bundle, settings.model, warm=False)  # one image
        made = made_again(source, engine, bundle, settings)
    if uid not in made:
        told = f"this configuration with bundle {bundle.digest[:12]} makes no instance {uid} of that source"
        raise ConfigError(f"{told}; give the --config, bundle and source that it was made with")
    result = compared(first, made[uid])
    facts = {"sop_instance_uid": uid, **asdict(result), "bundle_digest": bundle.digest, "device": engine.device}
    if as_json:
        print_json(facts)
    else:
        verdict = "identical" if result.identical else "not identical"
        stdout().print(table(("what", "value"), [("result", verdict), *facts.items()]))
    return ExitCode.DONE if result.identical else ExitCode.FAILED


def _digest_of(settings: Settings, uid: str) -> str:
    """The newest digest that the audit trail has of a derived image."""
    data_dir = settings.node.data_dir
    with reading(data_dir):
        events = []
        if (data_dir / AUDIT_FILE).is_file():
            trail = Audit(data_dir / AUDIT_FILE)
            events = trail.events(sop=uid)
            trail.close()
    found = [event.pixel_sha256 for event in events if event.derived_sop_instance_uid == uid and event.pixel_sha256]
    if not found:
        raise ConfigError(
            f"{uid} is no file, and the audit trail has no digest of its pixels; give the companion's file"
        )
    return found[-1]
