-- The blog's normalized tables. The same DDL types the CSV files beside it and makes the tables in Postgres.

CREATE TABLE users (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text,
    bio text,
    settings jsonb NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE posts (
    id integer PRIMARY KEY,
    title text NOT NULL,
    body text NOT NULL,
    author_id integer NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL
);

CREATE TABLE comments (
    id integer PRIMARY KEY,
    post_id integer NOT NULL REFERENCES posts (id),
    author_id integer NOT NULL REFERENCES users (id),
    body text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE likes (
    user_id integer NOT NULL REFERENCES users (id),
    post_id integer NOT NULL REFERENCES posts (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, post_id)
);

CREATE TABLE follows (
    follower_id integer NOT NULL REFERENCES users (id),
    following_id integer NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (follower_id, following_id)
);
