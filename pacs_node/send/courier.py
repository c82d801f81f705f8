"""Sends what jobs make, and keeps the association to each peer open for a while: the next companion follows soon.

An association that once gave no answer is never used again. One that the peer closed while it was idle is noticed when
it is used, and replaced at once: that is no failure of the object.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacs_node.config import Peer
from pacs_node.send.association import MAX_CONTEXTS, ContextKey
from pacs_node.send.scu import Instance, Line, batches, identify
from pacs_node.send.store_status import ENDED_BY_PEER, StoreOutcome

__all__ = ["Courier"]

MOST_OBJECTS = 200  # over one association: what a peer holds for it is freed now and then
CLOSING_S = 1.0  # for an object that is being sent when the courier is closed


@dataclass(slots=True)
class _Kept:
    """The line to one peer; used by one thread at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    line: Line | None = None
    idle_since: float = 0.0
    timer: threading.Timer | None = None

    def hang_up(self) -> None:
        if self.line is not None:
            self.line.hang_up()
            self.line = None


class Courier:
    """C-STORE SCU for several threads; those with objects for the same peer take turns.

    Parameters
    ----------
    calling_ae : our AE title
    timeout_s : as for `pacs_node.send.scu.store`
    keep_open_s : how long an idle association waits for the next object; 0 closes it at once.
    """

    def __init__(self, calling_ae: str, timeout_s: float, keep_open_s: float) -> None:
        self._calling_ae = calling_ae
        self._timeout_s = timeout_s
        self._keep_open_s = keep_open_s
        self._kept: dict[Peer, _Kept] = {}
        self._guard = threading.Lock()  # of the dictionary

    def send(self, paths: Sequence[Path], peer: Peer) -> list[StoreOutcome]:
        """Send files in their order; an outcome for each. Nothing that a peer or a file does is raised."""
        with self._guard:
            kept = self._kept.setdefault(peer, _Kept())
        with kept.lock:
            if kept.timer is not None:
                kept.timer.cancel()
            outcomes = [
                self._deliver(kept, peer, contexts, entry) if isinstance(entry, Instance) else entry
                for contexts, batch in batches([identify(path) for path in paths])
                for entry in batch
            ]
            self._rest(kept)
        return outcomes

    def close(self) -> None:
        """Release the associations that are idle; one in use is left to the end of the process."""
        with self._guard:
            self._keep_open_s = 0.0
            everything = [*self._kept.values()]
        for kept in everything:
            if kept.lock.acquire(timeout=CLOSING_S):
                try:
                    self._rest(kept)
                finally:
                    kept.lock.release()

    def _deliver(self, kept: _Kept, peer: Peer, contexts: list[ContextKey], instance: Instance) -> StoreOutcome:
        line, is_used = self._line(kept, peer, contexts)
        outcome = line.deliver(instance)
        if is_used and outcome.status is None and outcome.note == ENDED_BY_PEER.note:
            return self._line(kept, peer, contexts)[0].deliver(instance)
        return outcome

    def _line(self, kept: _Kept, peer: Peer, contexts: list[ContextKey]) -> tuple[Line, bool]:
        """The line for some contexts, and whether something was sent over its association already."""
        line = kept.line
        if line is not None and line.is_alive() and line.sent < MOST_OBJECTS and {*contexts} <= {*line.contexts}:
            return line, line.sent > 0
        known = line.contexts if line is not None else []
        all_contexts = [*dict.fromkeys([*contexts, *known])][:MAX_CONTEXTS]
        kept.hang_up()
        kept.line = Line(peer, self._calling_ae, self._timeout_s, float("inf"), all_contexts)
        return kept.line, False

    def _rest(self, kept: _Kept) -> None:
        """Wait for the next object, with the lock held."""
        if self._keep_open_s <= 0 or kept.line is None or not kept.line.is_alive():
            kept.hang_up()
            return
        kept.idle_since = time.monotonic()
        kept.timer = threading.Timer(self._keep_open_s, self._expire, [kept])
        kept.timer.daemon = True
        kept.timer.start()

    def _expire(self, kept: _Kept) -> None:
        with kept.lock:
            if time.monotonic() - kept.idle_since >= self._keep_open_s:  # else it was used meanwhile
                kept.hang_up()
