"""The audit log: who changed what in the elogbook, when and from where, before and after.

The database itself keeps it, so that no way of writing passes it by.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = {
    "account": "",
    "posix_group": "",
    "posix_group_member": "",
    "token": "",
    "site_player": "",
    "instrument": "",
    "instrument_player": "",
    "experiment": "",
    "experiment_player": "",
    "experiment_switch": "",
    "sample": "",
    "sample_activation": "",
    "run": "params,editable_params",
    "run_param_description": "",
    "run_file": "extra,locations,create_timestamp,modify_timestamp",
    "run_table": "",
    "elog_entry": "",
    "elog_attachment": "content,preview",
    "role": "",
}
"""Tables, and what is left out of what is said of a new row: the row itself says it."""
LEAVING = ("browser_session", "login_ticket")
"""Tables whose rows leave by themselves when they are too old, which is nobody's doing."""

FUNCTIONS = """
CREATE FUNCTION elogbook.differing(this jsonb, other jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(this)
    WHERE value IS DISTINCT FROM other -> key
$$;
CREATE FUNCTION elogbook.note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was jsonb;
    now_is jsonb;
    told_before jsonb;
    told_after jsonb;
    part text;
    whole jsonb;
BEGIN
    IF TG_OP <> 'INSERT' THEN was := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN now_is := to_jsonb(NEW); END IF;
    whole := coalesce(now_is, was);
    told_before := was - string_to_array(TG_ARGV[0], ',');
    told_after := now_is - string_to_array(TG_ARGV[0], ',');
    IF TG_OP = 'UPDATE' THEN
        told_before := elogbook.differing(was, now_is);
        told_after := elogbook.differing(now_is, was);
        IF told_after = '{}' THEN RETURN NULL; END IF;
        FOREACH part IN ARRAY ARRAY['params', 'extra', 'editable_params', 'locations'] LOOP
            IF told_after ? part THEN
                told_before := jsonb_set(told_before, ARRAY[part], elogbook.differing(was -> part, now_is -> part));
                told_after := jsonb_set(told_after, ARRAY[part], elogbook.differing(now_is -> part, was -> part));
            END IF;
        END LOOP;
    END IF;
    FOREACH part IN ARRAY ARRAY['password_hash', 'secret_hash', 'forgery_token'] LOOP
        IF told_before ? part THEN told_before := jsonb_set(told_before, ARRAY[part], '"***"'); END IF;
        IF told_after ? part THEN told_after := jsonb_set(told_after, ARRAY[part], '"***"'); END IF;
    END LOOP;
    INSERT INTO elogbook.audit (at, uid, origin, action, table_name, row_key, experiment_name, before, after)
    VALUES (
        clock_timestamp(),
        coalesce(nullif(current_setting('cryodaq.uid', true), ''), 'cryodaq'),
        coalesce(nullif(current_setting('cryodaq.origin', true), ''), '{}')::jsonb,
        lower(TG_OP),
        TG_TABLE_NAME,
        coalesce(whole ->> 'id', whole ->> 'name', whole ->> 'uid', whole ->> 'group_name'),
        coalesce(whole ->> 'experiment_name', CASE WHEN TG_TABLE_NAME = 'experiment' THEN whole ->> 'name' END),
        told_before,
        told_after
    );
    RETURN NULL;
END
$$;
CREATE FUNCTION elogbook.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON elogbook.audit
    FOR EACH STATEMENT EXECUTE FUNCTION elogbook.refuse_change();
"""


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False, comment="who"),
        sa.Column(
            "origin", postgresql.JSONB(), nullable=False, comment="from where: address, credential, request or command"
        ),
        sa.Column("action", sa.Text(), nullable=False, comment="insert, update or delete"),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("row_key", sa.Text()),
        sa.Column("experiment_name", sa.Text(), comment="as it was called then"),
        sa.Column("before", postgresql.JSONB(), comment="of a change, only what differs"),
        sa.Column("after", postgresql.JSONB()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        schema="elogbook",
    )
    op.create_index("ix_audit_of_experiment", "audit", ["experiment_name", "id"], schema="elogbook")
    op.create_index("ix_audit_of_person", "audit", ["uid", "id"], schema="elogbook")
    op.execute(FUNCTIONS)
    for table, left_out in TABLES.items():
        op.execute(
            f"CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON elogbook.{table} "
            f"FOR EACH ROW EXECUTE FUNCTION elogbook.note_change('{left_out}')"
        )
    for table in LEAVING:
        op.execute(
            f"CREATE TRIGGER note_change AFTER INSERT OR UPDATE ON elogbook.{table} "
            "FOR EACH ROW EXECUTE FUNCTION elogbook.note_change('')"
        )
        op.execute(
            f"CREATE TRIGGER note_end AFTER DELETE ON elogbook.{table} "
            "FOR EACH ROW WHEN (OLD.expires_at > now()) EXECUTE FUNCTION elogbook.note_change('')"
        )
