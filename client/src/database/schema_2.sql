-- The history that the server serves, while it is being taken over: `epoch` and
-- `base` name the one whose events are held. Both 0: there is none but that.
ALTER TABLE account ADD COLUMN next_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN next_base INTEGER NOT NULL DEFAULT 0;

-- The last history that was taken over or is, as far as this conversation goes.
ALTER TABLE conversations ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
