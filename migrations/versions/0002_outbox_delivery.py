"""What became of each announcement on each channel."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Keep attempts and the time of delivery beside the outbox, which stays as it was written."""
    op.execute("""
        CREATE TABLE outbox_delivery (
            outbox bigint NOT NULL REFERENCES outbox ON DELETE CASCADE,
            channel text NOT NULL,
            attempts integer NOT NULL DEFAULT 0,
            next_at timestamptz,
            delivered_at timestamptz,
            failed_at timestamptz,
            error text,
            PRIMARY KEY (outbox, channel)
        )
    """)
    op.execute("""
        CREATE INDEX outbox_delivery_final ON outbox_delivery (channel, outbox)
        WHERE next_at IS NULL
    """)
