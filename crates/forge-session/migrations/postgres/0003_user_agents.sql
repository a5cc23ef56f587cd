-- The user agent that a session was made with, beside the one that used it last.
ALTER TABLE sessions ADD COLUMN created_user_agent TEXT;
