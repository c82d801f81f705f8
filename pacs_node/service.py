"""The composition root: opens every part, wires them, and closes them in the right order."""

import fcntl
import logging
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from pydicom import Dataset
from sqlalchemy.exc import SQLAlchemyError

from model.bundle import Bundle
from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, EventKind
from pacs_node.config import Settings
from pacs_node.engine import Engine
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.errors import ConfigError, ModelError, Retriable
from pacs_node.intake import Intake
from pacs_node.jobs import Again, Handler, Task, count_jobs, open_jobs
from pacs_node.pipeline import make_outputs, make_refusal_note
from pacs_node.receive.listener import Listener
from pacs_node.records import Inference
from pacs_node.send.courier import Courier
from pacs_node.send.scu import StoreKind
from pacs_node.spool import Spool
from pacs_node.worker import DELIVER, PROCESS, Make, ModelIdentity, Send, SendOutcome, SendResult, Worker

__all__ = ["StatusReport", "node_status", "run_service"]

LOCK_FILE = "lock"
ASSOCIATION_GRACE_S = 5.0  # on SIGTERM: for objects that are being received
DELIVERIES_AT_ONCE = 4  # to one destination; they share its association, so this is how many are at hand
MOST_IMAGES_FOR_GPU = 32  # in memory at their own resolution
WORK_GRACE_S = 10  # for the image that is being processed; a few seconds is usual
EXIT_MODEL_ERROR = 3  # what the command line makes of a ModelError
EXIT_DEADLINE_S = 20.0  # then the process ends anyway; a kill loses nothing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What `pacs-node status` shows.

    Attributes
    ----------
    running : a node holds the data_dir.
    queue : tasks by stage and state, see `count_jobs`.
    files : how many are in incoming, outbox and quarantine.
    last : the latest events, oldest first.
    """

    running: bool
    queue: dict[str, int]
    files: dict[str, int]
    last: list[AuditEvent]


def run_service(settings: Settings, *, ready: Callable[[], object] | None = None, process: bool = True) -> int:
    """Serve until SIGTERM or SIGINT; call from the main thread.

    Parameters
    ----------
    ready : called once the port is open.
    process : False receives and queues, and leaves the images to a later run; what is made already is delivered.

    Returns
    -------
    0 after an orderly end.

    Raises
    ------
    ConfigError
        The port or the data_dir is taken, or a destination is unknown.
    ModelError
        The bundle or its runtime cannot be used, at the start or later; what is queued stays queued.
    Retriable
        The disk is full at the start.
    """
    _silence_libraries()
    stop = _StopRequest(holds_images=not process)
    with stop.signals(), ExitStack() as parts:
        parts.enter_context(_lock(settings.node.data_dir))
        bundle = load_bundle(settings.model.bundle)
        engine = open_engine(bundle, settings.model)
        _open_node(settings, bundle, engine, stop, parts)
        if ready is not None:
            ready()
        stop.wait()
        stop.limit_the_end()
        log.info("stopping: running work is finished, the rest stays queued")
    if stop.error is not None:
        raise stop.error
    log.info("stopped")
    return 0


def node_status(settings: Settings) -> StatusReport:
    """Look at a node from outside, running or not; changes nothing.

    Raises
    ------
    ConfigError
        The audit trail cannot be read.
    """
    data_dir = settings.node.data_dir
    last: list[AuditEvent] = []
    if (data_dir / AUDIT_FILE).exists():
        audit = Audit(data_dir / AUDIT_FILE)
        last = audit.events(limit=20)
        audit.close()
    counts = {"incoming": "incoming/*.dcm", "outbox": "outbox/*/*.dcm", "quarantine": "quarantine/*.dcm"}
    files = {name: len(list(data_dir.glob(pattern))) for name, pattern in counts.items()}
    return StatusReport(_is_locked(data_dir), count_jobs(data_dir), files, last)


def _open_node(settings: Settings, bundle: Bundle, engine: Engine, stop: "_StopRequest", parts: ExitStack) -> None:
    """Open spool, audit, queue and listener; ``parts`` closes them in the reverse order."""
    node = settings.node
    audit = Audit(node.data_dir / AUDIT_FILE)
    parts.callback(audit.close)
    spool = Spool(node.data_dir)
    spool.remove_leftovers()
    courier = Courier(node.ae_title, settings.delivery.timeout_s, settings.delivery.keep_open_s)
    parts.callback(courier.close)
    identity = ModelIdentity(f"{bundle.spec.name} {bundle.spec.version}", bundle.digest)
    worker = Worker(
        spool=spool,
        audit=audit,
        make=_maker(engine, bundle, settings),
        send=_sender(settings, courier),
        model=identity,
        destinations=settings.routing.destinations,
        delivery=settings.delivery,
        on_model_error=stop.because_of,
        note_refusal=partial(make_refusal_note, settings=settings),
    )
    at_once = {PROCESS: _parallel_images(settings, engine), DELIVER: DELIVERIES_AT_ONCE}
    jobs = open_jobs(node.data_dir, stop.held(worker.handlers()), at_once)
    parts.callback(jobs.close, WORK_GRACE_S)
    jobs.start()
    intake = Intake(jobs, spool, bundle.digest, settings)
    adopted = intake.adopt_orphans()
    listener = Listener(node, spool, audit, intake)
    listener.start()
    parts.callback(listener.stop, ASSOCIATION_GRACE_S)
    try:
        _announce(audit, EventKind.SERVICE_STARTED, settings, identity)
    except SQLAlchemyError as error:
        raise Retriable(f"the audit trail cannot be written: {type(error).__name__}") from error
    parts.callback(_announce_end, audit, settings, identity)
    where = f"{node.host}:{node.port} as {node.ae_title}"
    log.info("listening on %s, model %s %s on %s", where, identity.name, bundle.digest[:12], engine.device)
    if adopted:
        log.info("%d received files of an interrupted run were queued", adopted)


def _announce(audit: Audit, kind: EventKind, settings: Settings, model: ModelIdentity) -> None:
    audit.record(
        AuditEvent(kind=kind, called_ae_title=settings.node.ae_title, model=model.name, model_digest=model.digest)
    )


def _announce_end(audit: Audit, settings: Settings, model: ModelIdentity) -> None:
    try:
        _announce(audit, EventKind.SERVICE_STOPPED, settings, model)
    except SQLAlchemyError as error:  # the end is as orderly as on a disk that is not full
        log.warning("the end could not be audited: %s", type(error).__name__)


def _maker(engine: Engine, bundle: Bundle, settings: Settings) -> Make:
    def make(path: Path) -> tuple[dict[str, Dataset], Inference]:
        return make_outputs(path, engine, bundle, settings)

    return make


def _sender(settings: Settings, courier: Courier) -> Send:
    peers = {peer.name: peer for peer in settings.peers}
    unknown = [name for name in settings.routing.destinations if name not in peers]
    if unknown:
        raise ConfigError(f"routing.destinations names no peer of [[peers]]: {', '.join(unknown)}")
    outcomes = {
        StoreKind.DELIVERED: SendOutcome.DELIVERED,
        StoreKind.WARNING: SendOutcome.WARNING,
        StoreKind.RETRY: SendOutcome.RETRY,
        StoreKind.REFUSED: SendOutcome.REFUSED,
    }

    def send(paths: Sequence[Path], destination: str) -> list[SendResult]:
        peer = peers.get(destination)
        if peer is None:  # the settings changed while the companion was waiting
            note = "the destination is not configured any more"
            return [SendResult(SendOutcome.RETRY, None, note)] * len(paths)
        sent = courier.send(paths, peer)
        return [SendResult(outcomes[outcome.kind], outcome.status, outcome.note) for outcome in sent]

    return send


def _parallel_images(settings: Settings, engine: Engine) -> int:
    """How many images are prepared at the same time.

    On the CPU one is decoded or encoded while the network works on another one. A GPU takes several in one run, and
    wants others ready when it ends.
    """
    if settings.node.parallel_images:
        return settings.node.parallel_images
    cores = os.cpu_count() or 1
    return min(cores, 2) if engine.device == "cpu" else min(2 * cores, MOST_IMAGES_FOR_GPU)


class _StopRequest:
    """Why and when the service ends.

    The main thread waits at a pipe into which the interpreter writes a byte for each signal. Waiting at a lock would
    lose a signal that comes at the wrong instant: its handler runs in the thread that waits, once that wakes.
    """

    def __init__(self, *, holds_images: bool = False) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)  # PEP 475 has no say in the interpreter's own handler
        self._asked = False
        self._ending = threading.Event()
        self._holds_images = holds_images
        self.error: ModelError | None = None

    def because_of(self, error: ModelError) -> None:
        log.critical("no image can be processed any more: %s", error)
        self.error = self.error or error
        os.write(self._writer, b"!")

    def wait(self) -> None:
        """Until the end is asked for; for the main thread."""
        os.read(self._reader, 1)
        self._ending.set()

    def held(self, handlers: Mapping[str, Handler]) -> dict[str, Handler]:
        """The handlers; where images are held, that of images waits for the end and keeps them all queued behind it."""

        def hold(_task: Task) -> Again:
            self._ending.wait()
            return Again(0.0)

        return {**handlers, PROCESS: hold} if self._holds_images else dict(handlers)

    def limit_the_end(self) -> None:
        """End the process when closing takes too long: a stuck peer must not hold it."""
        code = 0 if self.error is None else EXIT_MODEL_ERROR
        timer = threading.Timer(EXIT_DEADLINE_S, os._exit, (code,))
        timer.daemon = True
        timer.start()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM, SIGINT and SIGHUP ask for the end; a second SIGTERM or SIGINT ends the process at once."""

        def on_signal(number: int, _frame: FrameType | None) -> None:
            if self._asked and number != signal.SIGHUP:  # which terminal, shell and init each may send
                os._exit(128 + number)
            self._asked = True

        wanted = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it: the end of a terminal is no end
            wanted.append(signal.SIGHUP)
        before = {number: signal.signal(number, on_signal) for number in wanted}
        heard_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(heard_before)
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _lock(data_dir: Path) -> Iterator[None]:
    """Hold the data_dir for this process; the kernel lets go when the process ends, however it ends."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # received images are the patients'
        stream = (data_dir / LOCK_FILE).open("a")
    except OSError as error:
        raise ConfigError(f"node.data_dir {data_dir} cannot be used: {error.strerror}") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another pacs-node serves from {data_dir}: give each its own node.data_dir") from error
        yield


def _is_locked(data_dir: Path) -> bool:
    try:
        with (data_dir / LOCK_FILE).open("r") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _silence_libraries() -> None:
    """Libraries quote data sets in their messages and warnings; ours is the only voice of the service."""
    warnings.simplefilter("ignore")
    for name in ("pydicom", "pynetdicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    threading.excepthook = _log_dead_thread


def _log_dead_thread(death: threading.ExceptHookArgs) -> None:
    """Where a library's thread ended; the text of the exception may quote what a peer sent."""
    if not issubclass(death.exc_type, SystemExit):
        where = "".join(traceback.format_tb(death.exc_traceback))
        log.error("a thread ended with %s\n%s", death.exc_type.__name__, where)
