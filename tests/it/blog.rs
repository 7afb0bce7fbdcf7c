//! The systems blog and feed, on their sample and on Postgres.

use crate::support::{Database, Project, cluster, counts, diff_of};

const BLOG: [&str; 2] = ["run", "pipelines/blog.toml"];

/// The sample's tables in Postgres, and the pipelines on them, delivered beside.
fn on_postgres() -> (Database, Project) {
    let source = cluster().loaded("data/blog/load.sql");
    let mut project = Project::shop();
    for variable in ["BLOG_SOURCE", "BLOG_TARGET", "FEED_TARGET"] {
        project.set(variable, &source.url());
    }
    (source, project)
}

fn night(project: &Project, pipeline: &str) -> serde_json::Value {
    project.starmill(&["run", pipeline, "--format", "json"]).exits(0).json()
}

#[test]
fn both_run_on_the_bundled_sample_without_a_server() {
    let project = Project::shop();
    let ran = project.starmill(&BLOG).exits(0);
    ran.says("blog · run").says("total of like_count").says("Controls cover 8 of 8 numeric columns (100 %)");
    project
        .starmill(&["run", "pipelines/feed.toml"])
        .exits(0)
        .says("the newest fifty of all whom one follows  23,162  23,162");
}

#[test]
fn every_read_model_of_the_blog_is_what_postgres_says_it_is() {
    let (source, project) = on_postgres();
    night(&project, "pipelines/blog.toml");
    night(&project, "pipelines/feed.toml");
    // Each as one would ask it of the tables, without a model's help.
    let asked = [
        (
            "SELECT post_id, title, body, created_at, author_id, author_name, author_email, comment_count, like_count FROM blog.posts_with_author",
            "SELECT p.id, p.title, p.body, p.created_at, p.author_id, u.name, u.email, (SELECT count(*) FROM comments c WHERE c.post_id = p.id), \
             (SELECT count(*) FROM likes l WHERE l.post_id = p.id) FROM posts p JOIN users u ON u.id = p.author_id",
        ),
        (
            "SELECT user_id, name, post_count, comment_count, follower_count, following_count FROM blog.user_stats",
            "SELECT u.id, u.name, (SELECT count(*) FROM posts p WHERE p.author_id = u.id), (SELECT count(*) FROM comments c WHERE c.author_id = u.id), \
             (SELECT count(*) FROM follows f WHERE f.following_id = u.id), (SELECT count(*) FROM follows f WHERE f.follower_id = u.id) FROM users u",
        ),
        (
            "SELECT day, author_id, post_count, comment_count FROM blog.daily_post_stats",
            "SELECT (p.created_at AT TIME ZONE 'UTC')::date, p.author_id, count(DISTINCT p.id), count(c.id) \
             FROM posts p LEFT JOIN comments c ON c.post_id = p.id GROUP BY 1, 2",
        ),
        (
            "SELECT user_id, name, email, created_at FROM blog.dim_user WHERE user_key <> -1",
            "SELECT id, name, email, created_at FROM users",
        ),
        (
            "SELECT user_id, bio, settings::jsonb, theme, language FROM blog.dim_user_profile WHERE profile_key <> -1",
            "SELECT id, bio, settings, settings ->> 'theme', settings ->> 'language' FROM users",
        ),
        (
            "SELECT user_id, post_id, created_at, author_id, author_name FROM feed.feed_items",
            "SELECT f.user_id, n.* FROM (SELECT DISTINCT follower_id AS user_id FROM follows) f CROSS JOIN LATERAL (SELECT p.id, p.created_at, p.author_id, u.name \
             FROM posts p JOIN users u ON u.id = p.author_id WHERE p.author_id IN (SELECT following_id FROM follows WHERE follower_id = f.user_id) \
             ORDER BY p.created_at DESC, p.id DESC LIMIT 50) n",
        ),
    ];
    for (star, truth) in asked {
        let differ = format!(
            "SELECT count(*) FROM (({star} EXCEPT ALL {truth}) UNION ALL ({truth} EXCEPT ALL {star})) AS d"
        );
        assert_eq!(source.sql(&differ), "0", "{star}");
        assert_ne!(source.sql(&format!("SELECT count(*) FROM ({star}) AS s")), "0", "{star}");
    }
    assert_eq!(
        source.sql("SELECT count(*) FROM blog.user_stats WHERE post_count = 0 AND following_count = 0"),
        "0"
    );
    assert_eq!(source.sql("SELECT count(*) FROM blog.user_stats WHERE post_count = 0"), "20");
}

#[test]
fn the_query_that_textbooks_print_is_refused_with_the_join_that_multiplied_its_rows() {
    let project = Project::shop();
    project.write(
        "sql/blog/daily_post_stats.sql",
        "SELECT CAST(p.created_at AS date) AS day, p.author_id, COUNT(p.id) AS post_count, COUNT(c.id) AS comment_count\n\
         FROM posts AS p LEFT JOIN comments AS c ON c.post_id = p.id\nGROUP BY CAST(p.created_at AS date), p.author_id\n",
    );
    let refused = project.starmill(&BLOG).exits(7);
    let refused = refused
        .says("FAILED  daily_post_stats   total of post_count")
        .says("source 5,000, star 12,258, difference 7,258")
        .says("LEFT JOIN comments AS c: 5000 rows became 12258");
    let once = refused.stdout.matches("LEFT JOIN comments").count();
    assert_eq!(once, 1, "{}", refused.stdout);
    assert_eq!(project.entries("out/blog/snapshots").len(), 0, "nothing is published");
    // A fan-out behind a subquery is found, too, and one that is none is not blamed.
    project.write(
        "sql/blog/daily_post_stats.sql",
        "WITH x AS (SELECT p.id, p.created_at, p.author_id, u.name FROM posts AS p JOIN users AS u ON u.id = p.author_id)\n\
         SELECT CAST(x.created_at AS date) AS day, x.author_id, count(*) AS post_count, CAST(0 AS bigint) AS comment_count\n\
         FROM x JOIN (SELECT post_id FROM likes) AS l ON l.post_id = x.id GROUP BY CAST(x.created_at AS date), x.author_id\n",
    );
    let refused = project.starmill(&BLOG).exits(7);
    let refused = refused.says("JOIN l: 5000 rows became 9000");
    assert!(!refused.stdout.contains("JOIN users"), "{}", refused.stdout);
}

#[test]
fn a_rename_follows_in_every_copy_and_the_feed_follows_whom_one_follows() {
    let (source, project) = on_postgres();
    night(&project, "pipelines/blog.toml");
    night(&project, "pipelines/feed.toml");
    let number = |sql: &str| source.sql(sql).parse::<u64>().unwrap();
    let feed_of = |user: u32| number(&format!("SELECT count(*) FROM feed.feed_items WHERE user_id = {user}"));

    let (posts, copies) = (
        number("SELECT count(*) FROM posts WHERE author_id = 1"),
        number("SELECT count(*) FROM feed.feed_items WHERE author_id = 1"),
    );
    source.sql("UPDATE users SET name = 'Ada Lovelace' WHERE id = 1");
    let renamed = night(&project, "pipelines/blog.toml");
    assert_eq!(counts(&renamed, "posts_with_author"), (0, 0, posts));
    assert_eq!(
        diff_of(&renamed, "posts_with_author")["changed_columns"],
        serde_json::json!({ "author_name": posts })
    );
    assert_eq!(
        diff_of(&renamed, "posts_with_author")["made_of"],
        serde_json::json!({ "author_name": ["users.name"] }),
        "what changed them"
    );
    assert_eq!((counts(&renamed, "dim_user"), counts(&renamed, "user_stats")), ((0, 0, 1), (0, 0, 1)));
    assert_eq!(counts(&renamed, "dim_user_profile"), (0, 0, 0), "what is apart is not touched");
    assert_eq!(counts(&night(&project, "pipelines/feed.toml"), "feed_items"), (0, 0, copies));

    // Unfollowed: all of theirs go, and older ones of others come.
    let (user, author) = (31, source.sql("SELECT min(author_id) FROM feed.feed_items WHERE user_id = 31"));
    let theirs = number(&format!(
        "SELECT count(*) FROM feed.feed_items WHERE user_id = {user} AND author_id = {author}"
    ));
    source.sql(&format!("DELETE FROM follows WHERE follower_id = {user} AND following_id = {author}"));
    let (_, removed, changed) = counts(&night(&project, "pipelines/feed.toml"), "feed_items");
    assert_eq!((removed, changed), (theirs, 0));
    assert_eq!(
        number(&format!(
            "SELECT count(*) FROM feed.feed_items WHERE user_id = {user} AND author_id = {author}"
        )),
        0
    );

    // Followed by somebody who followed nobody.
    assert_eq!(feed_of(2), 0);
    source.sql("INSERT INTO follows VALUES (2, 100, '2025-01-01')");
    let written = number("SELECT least(count(*), 50) FROM posts WHERE author_id = 100");
    assert_eq!(counts(&night(&project, "pipelines/feed.toml"), "feed_items"), (written, 0, 0));
    assert_eq!(feed_of(2), written);

    // A post that is deleted goes from every feed, and makes room where there was none.
    let post = source
        .sql("SELECT post_id FROM feed.feed_items GROUP BY post_id ORDER BY count(*) DESC, post_id LIMIT 1");
    let readers = number(&format!("SELECT count(*) FROM feed.feed_items WHERE post_id = {post}"));
    source.sql(&format!("DELETE FROM comments WHERE post_id = {post}; DELETE FROM likes WHERE post_id = {post}; DELETE FROM posts WHERE id = {post}"));
    let (added, removed, changed) = counts(&night(&project, "pipelines/feed.toml"), "feed_items");
    assert_eq!((removed, changed), (readers, 0));
    assert!(added > 0 && added <= readers);
    night(&project, "pipelines/blog.toml");
    project.starmill(&["deliver", "--verify", "pipelines/blog.toml"]).exits(0);
    project.starmill(&["deliver", "--verify", "pipelines/feed.toml"]).exits(0);
}

#[test]
fn the_grown_blog_is_built_and_proven() {
    let source = cluster().database();
    let grown = source
        .psql()
        .args(["-q", "-v", "users=2000", "-f", "data/blog/grow.sql"])
        .current_dir(crate::support::root())
        .output()
        .unwrap();
    assert!(grown.status.success(), "{}", String::from_utf8_lossy(&grown.stderr));
    let mut project = Project::shop();
    project.set("BLOG_SOURCE", &source.url());
    let blog = night(&project, "pipelines/blog.toml");
    let feed = night(&project, "pipelines/feed.toml");
    let rows = |report: &serde_json::Value, table: &str| {
        let tables = report["tables"].as_array().unwrap();
        tables.iter().find(|one| one["table"] == table).unwrap()["rows"].as_u64().unwrap()
    };
    assert_eq!((rows(&blog, "posts_with_author"), rows(&blog, "dim_user")), (20_000, 2_001));
    assert!(rows(&feed, "feed_items") > 50_000);
}
