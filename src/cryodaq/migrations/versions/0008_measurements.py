"""Measurements as columns, so that large samples can be sorted and counted; what people say of single movies."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "measurement",
        sa.Column("branch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("movie_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "fitted", sa.Boolean(), nullable=True, comment="null: CTF not estimated yet; false: no CTF was found"
        ),
        sa.Column("fit_resolution_ang", sa.Double(), nullable=True),
        sa.Column("defocus_ang", sa.Double(), nullable=True, comment="mean of U and V"),
        sa.Column("astigmatism_ang", sa.Double(), nullable=True, comment="U - V"),
        sa.Column("ice_ring_ratio", sa.Double(), nullable=True),
        sa.Column("motion_total_ang", sa.Double(), nullable=True),
        sa.Column("mean_counts", sa.Double(), nullable=True, comment="counts per pixel and frame"),
        sa.Column("particle_count", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["branch_id"], ["ledger.branch.id"], name=op.f("fk_measurement_branch_id_branch")),
        sa.ForeignKeyConstraint(["movie_id"], ["ledger.movie.id"], name=op.f("fk_measurement_movie_id_movie")),
        sa.PrimaryKeyConstraint("branch_id", "movie_id", name=op.f("pk_measurement")),
        schema="ledger",
        comment="Numbers of the stages' newest results; copied from stage_result.",
    )
    op.create_table(
        "judgement",
        sa.Column("movie_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "verdict", sa.Text(), nullable=True, comment="in or out, whatever the limits say; null: the limits decide"
        ),
        sa.Column("rating", sa.Integer(), nullable=True, comment="1 to 5"),
        sa.Column("comment", sa.Text(), server_default="", nullable=False),
        sa.Column("judged_by", sa.Text(), nullable=False),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["movie_id"], ["ledger.movie.id"], name=op.f("fk_judgement_movie_id_movie")),
        sa.PrimaryKeyConstraint("movie_id", name=op.f("pk_judgement")),
        schema="ledger",
        comment="What people say of single movies.",
    )
    op.execute(_COPY)


_COPY = """
insert into ledger.measurement (branch_id, movie_id, fitted, fit_resolution_ang, defocus_ang, astigmatism_ang,
                                ice_ring_ratio, motion_total_ang, mean_counts, particle_count)
select branch_id, movie_id,
       bool_or((ctf -> 'fitted')::boolean),
       max((ctf ->> 'fit_resolution_ang')::double precision) filter (where (ctf -> 'fitted')::boolean),
       max(((ctf ->> 'defocus_u_ang')::double precision + (ctf ->> 'defocus_v_ang')::double precision) / 2)
           filter (where (ctf -> 'fitted')::boolean),
       max((ctf ->> 'defocus_u_ang')::double precision - (ctf ->> 'defocus_v_ang')::double precision)
           filter (where (ctf -> 'fitted')::boolean),
       max((ctf ->> 'ice_ring_ratio')::double precision),
       max((result #>> '{motion,total_ang}')::double precision) filter (where stage = 'align'),
       max((result ->> 'mean_counts_per_px_frame')::double precision) filter (where stage = 'align'),
       max((result ->> 'count')::integer) filter (where stage = 'pick')
from (
    select distinct on (branch_id, movie_id, stage) branch_id, movie_id, stage, result,
           case when stage = 'ctf' then result -> 'aligned' end as ctf
    from ledger.stage_result
    where state = 'succeeded' and stage in ('align', 'ctf', 'pick')
    order by branch_id, movie_id, stage, attempt desc
) newest
group by branch_id, movie_id
"""
