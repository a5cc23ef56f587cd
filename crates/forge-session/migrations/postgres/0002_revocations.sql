-- Every node that shares the table hears at once what is revoked, by whatever program: what is told
-- is the schema, since a channel is one for the whole database, and the session, or `*` for all.

CREATE FUNCTION sessions_tell_revoked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('forge_sessions_revoked', TG_TABLE_SCHEMA || ' ' || NEW.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER sessions_revoked_is_told AFTER UPDATE OF revoked_at ON sessions
    FOR EACH ROW WHEN (NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION sessions_tell_revoked();

CREATE FUNCTION sessions_tell_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('forge_sessions_revoked', TG_TABLE_SCHEMA || ' *');
    RETURN NULL;
END
$$;

CREATE TRIGGER sessions_epoch_is_told AFTER UPDATE OF ended_at ON sessions_epochs
    FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL) EXECUTE FUNCTION sessions_tell_epoch();
