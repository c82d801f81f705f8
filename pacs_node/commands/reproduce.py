"""`pacs-node reproduce`: run again from the source, compare pixels, say identical or how not."""

from dataclasses import asdict
from pathlib import Path

from pydicom import Dataset

from model.bundle import Bundle
from pacs_node.audit import AUDIT_FILE, Audit
from pacs_node.commands.audit import reading
from pacs_node.commands.errors import ExitCode
from pacs_node.commands.terminal import print_json, stderr, stdout, table
from pacs_node.config import Settings, load_settings
from pacs_node.derive.verbatim import text
from pacs_node.engine.load import SHIPPED, load_bundle, open_engine
from pacs_node.errors import ConfigError
from pacs_node.imaging.read import open_dataset
from pacs_node.reproduce import bundle_digest_of, compared, made_again

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
        uid, maker = text(first, "SOPInstanceUID"), bundle_digest_of(first)
        if not uid:
            raise ConfigError(f"{companion} names no SOP Instance UID; give an image that this software made")
    else:
        uid = companion
        first, maker = _digests_of(settings, companion)
    with stderr().status("making it again"):
        bundle = _maker(settings, maker)
        engine = open_engine(bundle, settings.model, warm=False)  # one image
        made = made_again(source, engine, bundle, settings)
    if uid not in made:
        told = f"this configuration with bundle {bundle.digest[:12]} makes no instance {uid} of that source"
        by = f" (made by bundle {maker[:12]})" if maker and maker != bundle.digest else ""
        raise ConfigError(f"{told}{by}; give the --config, bundle and source that it was made with")
    result = compared(first, made[uid])
    facts = {"sop_instance_uid": uid, **asdict(result), "bundle_digest": bundle.digest, "device": engine.device}
    if as_json:
        print_json(facts)
    else:
        verdict = "identical" if result.identical else "not identical"
        stdout().print(table(("what", "value"), [("result", verdict), *facts.items()]))
    return ExitCode.DONE if result.identical else ExitCode.FAILED


def _maker(settings: Settings, digest: str | None) -> Bundle:
    """The bundle of that digest: the configured one, else one that ships; the configured one where neither is it."""
    configured = load_bundle(settings.model.bundle)
    if digest in (None, configured.digest):
        return configured
    shipped = (load_bundle(name) for name in SHIPPED if name != settings.model.bundle)
    return next((bundle for bundle in shipped if bundle.digest == digest), configured)


def _digests_of(settings: Settings, uid: str) -> tuple[str, str | None]:
    """The newest digests that the audit trail has of a derived image: of its pixels, and of the bundle behind it."""
    data_dir = settings.node.data_dir
    with reading(data_dir):
        events = []
        if (data_dir / AUDIT_FILE).is_file():
            trail = Audit(data_dir / AUDIT_FILE)
            events = trail.events(sop=uid)
            trail.close()
    made = [event for event in events if event.derived_sop_instance_uid == uid and event.pixel_sha256]
    if not made or (pixels := made[-1].pixel_sha256) is None:
        raise ConfigError(
            f"{uid} is no file, and the audit trail has no digest of its pixels; give the companion's file"
        )
    return pixels, made[-1].model_digest
