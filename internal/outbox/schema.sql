-- The outbox of Sluice. Add it to the migrations of your own database.
CREATE TABLE {table} (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        uuid NOT NULL DEFAULT gen_random_uuid(), -- the idempotency key of a message that has none of its own
    message    jsonb NOT NULL,                          -- the body of POST /v1/messages
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Sluice writes these columns:
    state      text CHECK (state IN ('accepted', 'refused')), -- NULL: pending
    message_id text,                                          -- Sluice's id of an accepted message
    problem    jsonb,                                         -- why the message was refused
    done_at    timestamptz
);
CREATE INDEX {index} ON {table} (id) WHERE state IS NULL;

-- The rights that Sluice needs, for a role of its own:
-- GRANT SELECT, UPDATE (state, message_id, problem, done_at) ON {table} TO sluice;
