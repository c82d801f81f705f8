"""What the pixels of a derived image were, so that it can be told whether they can be made again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `events.pixel_sha256`."""
    op.add_column("events", sa.Column("pixel_sha256", sa.String(64)))


def downgrade() -> None:
    """Drop it again."""
    op.drop_column("events", "pixel_sha256")
