-- When the access token of GitHub in users.github_token expires; none where it never does. The
-- refresh token that takes its place lies sealed beside it, in the same value.
ALTER TABLE users ADD COLUMN github_token_expires_at INTEGER;
