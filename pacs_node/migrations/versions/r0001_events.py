"""The first schema: one table of events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INDEXED = ("occurred_at", "source_sop_instance_uid", "derived_sop_instance_uid", "study_instance_uid")


def upgrade() -> None:
    """Create `events`."""
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("source_sop_instance_uid", sa.String(64)),
        sa.Column("derived_sop_instance_uid", sa.String(64)),
        sa.Column("study_instance_uid", sa.String(64)),
        sa.Column("peer", sa.String(255)),
        sa.Column("calling_ae_title", sa.String(16)),
        sa.Column("called_ae_title", sa.String(16)),
        sa.Column("dicom_status", sa.Integer()),
        sa.Column("reason", sa.String(64)),
        sa.Column("model", sa.String(128)),
        sa.Column("model_digest", sa.String(64)),
        sa.Column("noise_seed", sa.String(20)),
        sa.Column("steps", sa.Integer()),
        sa.Column("attempt", sa.Integer()),
        sa.Column("size_bytes", sa.Integer()),
        sa.Column("duration_s", sa.Double()),
        sa.Column("note", sa.String(1024)),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    for column in INDEXED:
        op.create_index(f"ix_events_{column}", "events", [column])


def downgrade() -> None:
    """Drop `events`."""
    op.drop_table("events")
