"""Schema revisions of the audit trail, applied by alembic when the file is opened."""
