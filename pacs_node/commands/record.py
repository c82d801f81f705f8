"""What a person ordered goes into the audit trail of the node that their settings name."""

from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, EventKind
from pacs_node.commands.terminal import say
from pacs_node.config import Settings
from pacs_node.errors import ConfigError

__all__ = ["record_command"]


def record_command(settings: Settings, note: str, **fields: Any) -> None:
    """Record a user command where a node keeps an audit trail; a folder without one gets none.

    Parameters
    ----------
    note : the command in words of ours, without paths, which may hold names.
    fields : columns of `AuditEvent`.
    """
    path = settings.node.data_dir / AUDIT_FILE
    try:
        if not path.is_file():
            return
        trail = Audit(path)
        trail.record(AuditEvent(kind=EventKind.USER_COMMAND, note=note, **fields))
        trail.close()
    except (OSError, SQLAlchemyError, ConfigError) as error:
        say(f"pacs-node: the audit trail could not be written ({type(error).__name__})")
