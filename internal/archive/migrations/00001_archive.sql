-- +goose Up
-- One row for each event about a message. The first four columns are the name of the event: when its entry of the stream
-- was written, the rest of the id of the entry, the stream (2 x shard, plus 1 for what Meta reported), and its line.
CREATE TABLE sluice_archive (
    at               timestamptz NOT NULL,
    seq              bigint NOT NULL,
    stream           smallint NOT NULL,
    line             smallint NOT NULL,
    kind             text NOT NULL, -- message, final or status
    phone_number_id  text NOT NULL,
    message_id       text,          -- Sluice's id; NULL: another program sent the message
    state            text NOT NULL, -- of a status: as Meta named it
    result           text,          -- of a final event: delivered, not_delivered or unknown
    attempt          integer,
    code             bigint,        -- Meta's error code
    reason           text,
    -- Of the event of the acceptance:
    class            text,
    type             text,
    template         text,
    ref              text,
    tags             text[],
    -- Of the event of the acceptance, and of statuses:
    recipient        bigint,        -- a keyed hash
    region           text,          -- the first four digits of the phone number, or the country of a business-scoped user id
    -- Of statuses:
    waba_id          text,
    meta_id          bigint,        -- a keyed hash of Meta's id, which contains the phone number
    pricing_category text,
    pricing_type     text,
    billable         boolean,
    PRIMARY KEY (at, seq, stream, line)
) PARTITION BY RANGE (at);

CREATE INDEX sluice_archive_message ON sluice_archive USING hash (message_id);
CREATE INDEX sluice_archive_recipient ON sluice_archive (recipient) WHERE recipient IS NOT NULL;

-- +goose Down
DROP TABLE sluice_archive;
