"""Where on the grid a movie was taken, worked out once: pages group tens of thousands of movies by it."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

PLACES = {"grid_square": "GridSquare", "foil_hole": "FoilHole"}


def upgrade() -> None:
    for key, folder in PLACES.items():
        worked_out = sa.Computed(
            f"coalesce(metadata ->> '{key}', substring(path from '{folder}_([0-9]+)'))", persisted=True
        )
        column = sa.Column(key, sa.Text(), worked_out, comment="of the metadata, else of the path")
        op.add_column("movie", column, schema="ledger")
