"""What was done of a job before it was begun, or begun again: the time left is of the rest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what is under way is measured once its worker has begun it again."""
    op.add_column("job", sa.Column("done_before", sa.Integer(), nullable=True))
