"""What red cells show of a scale that was entered; of fields that are there it is not known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("smear_field", sa.Column("by_red_cells", sa.Float(), nullable=True))
