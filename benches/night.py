#!/usr/bin/env python3
"""The whole night beside raw COPY and, if it is installed, beside DuckDB. Interleaved rounds, medians.

    cargo build --release
    python3 benches/night.py                         500,000 orders, 1,500,000 items, five rounds
    python3 benches/night.py --orders 50000 --rounds 3
    pip install duckdb==1.5.5 duckdb-extension-postgres-scanner, to have the peer in the same rounds
    python3 benches/night.py --bucket                the same nights into a bucket, too (pip install 'moto[server]==5.2.5')
    python3 benches/night.py --system blog           the blog and the feed: 100,000 users, 1 million posts and follows,
                                                     5 million comments and likes; --users for another size

It starts a throw-away Postgres of its own (initdb on the PATH), grows the shop in it, and removes it
at the end. Every figure is of the client process alone; the server shares the machine's cores.
"""

import argparse
import glob
import json
import os
import pwd
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STARMILL = ROOT / "target" / "release" / "starmill"


def find(program):
    places = os.environ["PATH"].split(":") + sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    for place in places:
        path = Path(place) / program
        if path.exists():
            return str(path.resolve())
    sys.exit(f"{program} is not installed")


def drop_root():
    """Postgres refuses to run as root."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)


class Cluster:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="starmill-bench")
        os.chmod(self.folder, 0o777)
        data = f"{self.folder}/data"
        init = [find("initdb"), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D", data]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL, preexec_fn=drop_root, cwd=self.folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        serve = [find("postgres"), "-D", data, "-k", self.folder, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                 "-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB", "-c", "log_min_messages=fatal"]
        self.server = subprocess.Popen(serve, preexec_fn=drop_root, cwd=self.folder)
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        while subprocess.run(["psql", "-d", self.url, "-c", ""], capture_output=True).returncode != 0:
            time.sleep(0.1)

    def close(self):
        self.server.terminate()
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def measured(command, **options):
    """Wall and CPU seconds and peak resident bytes of one process."""
    start = time.monotonic()
    process = subprocess.Popen(command, **options)
    out = process.stdout.read() if process.stdout else None
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"{command[:4]} failed: {status}\n{out}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024, "out": out}


class System:
    """A database that is grown, a day of its changes, and the pipelines over it with the same models for DuckDB."""

    def __init__(self, grow, source, pipelines, large, small, day, title):
        self.grow, self.source, self.pipelines = grow, source, pipelines
        self.large, self.small, self.day, self.title = large, small, day, title

    def settings(self, url, work, name):
        """Environment of a pipeline: its source, a store of its own, no target."""
        upper = name.upper()
        return {self.source: url, f"{upper}_STORE": f"{work}/{name}", f"{upper}_TARGET": ""}


def raw_copy(url, system):
    """Every table through psql to nowhere, on two connections: the large tables in halves."""
    def halves(table, key):
        middle = f"(SELECT max({key}) / 2 FROM {table})"
        return [f"(SELECT * FROM {table} WHERE {key} {sign} {middle})" for sign in ("<=", ">")]
    first, second = [], []
    for table, key in system.large:
        low, high = halves(table, key)
        first.append(low)
        second.append(high)
    second += system.small
    start = time.monotonic()
    def psql(sources):
        commands = []
        for source in sources:
            commands += ["-c", f"COPY {source} TO STDOUT (FORMAT binary)"]
        return subprocess.Popen(["psql", "-X", "-q", "-d", url, *commands], stdout=subprocess.DEVNULL)
    both = [psql(first), psql(second)]
    if any(process.wait() != 0 for process in both):
        sys.exit("raw COPY failed")
    return {"wall": time.monotonic() - start}


class Buckets:
    """An S3 server on this machine, in memory."""

    def __init__(self, work):
        self.work, self.made = work, 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.1)
        self.environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_ACCESS_KEY_ID": "k",
                            "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1", "XDG_CACHE_HOME": f"{work}/cache"}

    def fresh(self):
        """A bucket that nobody has used, and a machine that has no copies."""
        self.made += 1
        shutil.rmtree(f"{self.work}/cache", ignore_errors=True)
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/stars-{self.made}", method="PUT")
        urllib.request.urlopen(request).read()
        return f"s3://stars-{self.made}/shop"

    def close(self):
        self.server.terminate()
        self.server.wait()


def night(system, name, url, work, fresh, settings={}):
    if fresh:
        shutil.rmtree(f"{work}/{name}", ignore_errors=True)
    environment = {**os.environ, **system.settings(url, work, name), **settings}
    # A store that was removed is begun anew only by somebody's word.
    anew = ["--new-store"] if fresh else []
    result = measured([str(STARMILL), "run", *anew, f"pipelines/{name}.toml", "--format", "json"],
                      stdout=subprocess.PIPE, cwd=ROOT, env=environment)
    result["report"] = json.loads(result["out"])
    return result


PEER_SESSION = r"""
import importlib.resources, sys, duckdb
db = duckdb.connect(config={"threads": 2, "allow_unsigned_extensions": "true"})
extension = importlib.resources.files("duckdb_extension_postgres_scanner")
path = next(p for p in (extension / "extensions").rglob("postgres_scanner.duckdb_extension"))
db.execute("SET enable_progress_bar = false")
db.execute(f"LOAD '{path}'")
db.execute("SET TimeZone = 'UTC'")
db.execute(f"ATTACH '{sys.argv[1]}' AS source (TYPE postgres, READ_ONLY)")
"""

PEER_SESSION += r"""
out = sys.argv[2]
# As fast as it goes: unsorted, all the memory it wants, kept only where a later model reads it.
def publish(name, sql, reread=True):
    if reread:
        db.execute(f"CREATE TEMP TABLE {name} AS {sql}")
    source = name if reread else f"({sql})"
    db.execute(f"COPY {source} TO '{out}/{name}.parquet' (FORMAT parquet, COMPRESSION zstd)")
def take(table, columns="*"):
    db.execute(f"CREATE TEMP TABLE {table} AS SELECT {columns} FROM source.public.{table}")
"""

SHOP = r"""
for table in ["customers", "addresses", "shipping_carriers", "categories"]:
    db.execute(f"CREATE TEMP TABLE {table} AS SELECT * FROM source.public.{table}")
db.execute("CREATE TEMP TABLE products AS SELECT product_id, product_name, category_id, unit_price, attributes FROM source.public.products")
db.execute("CREATE TEMP TABLE orders AS SELECT order_id, customer_id, address_id, carrier_id, ordered_at FROM source.public.orders")
db.execute("CREATE TEMP TABLE order_items AS SELECT * FROM source.public.order_items")
publish("dim_customer", "SELECT row_number() OVER (ORDER BY customer_id) AS customer_key, customer_id, full_name, email FROM customers")
publish("dim_product", '''WITH RECURSIVE paths AS (
    SELECT category_id, name, name AS path FROM categories WHERE parent_id IS NULL
    UNION ALL SELECT c.category_id, c.name, p.path || ' > ' || c.name FROM categories c JOIN paths p ON p.category_id = c.parent_id)
    SELECT row_number() OVER (ORDER BY product_id) AS product_key, p.product_id, p.product_name, c.name AS category, c.path AS category_path, p.unit_price,
    json_extract_string(p.attributes, 'color') AS color, json_extract_string(p.attributes, 'size') AS size FROM products p LEFT JOIN paths c USING (category_id)''')
publish("dim_carrier", "SELECT row_number() OVER (ORDER BY carrier_id) AS carrier_key, carrier_id, carrier_name FROM shipping_carriers")
publish("dim_date", "SELECT CAST(strftime(d, '%Y%m%d') AS INT) AS date_key, CAST(d AS DATE) AS date, year(d) AS year, month(d) AS month FROM range(TIMESTAMP '2024-01-01', TIMESTAMP '2028-01-01', INTERVAL 1 DAY) AS t(d)")
publish("fact_order_items", '''SELECT i.item_id, i.order_id, o.customer_id, i.product_id, o.carrier_id, o.ordered_at, i.quantity, i.line_total,
    coalesce(c.customer_key, -1) AS customer_key, coalesce(p.product_key, -1) AS product_key, coalesce(s.carrier_key, -1) AS carrier_key, coalesce(d.date_key, -1) AS ordered_key
    FROM order_items i LEFT JOIN orders o USING (order_id) LEFT JOIN dim_customer c ON c.customer_id = o.customer_id
    LEFT JOIN dim_product p ON p.product_id = i.product_id LEFT JOIN dim_carrier s ON s.carrier_id = o.carrier_id LEFT JOIN dim_date d ON d.date = CAST(o.ordered_at AS DATE)''')
publish("order_summary", '''WITH lines AS (SELECT i.order_id, count(*) AS item_count, sum(i.line_total) AS order_total, string_agg(p.product_name, ', ' ORDER BY i.item_id) AS product_names
    FROM order_items i LEFT JOIN products p USING (product_id) GROUP BY i.order_id)
    SELECT o.order_id, o.ordered_at, o.customer_id, c.full_name AS customer_name, a.city AS shipping_city, s.carrier_name, coalesce(l.item_count, 0) AS item_count,
    coalesce(l.order_total, 0) AS order_total, l.product_names, c.full_name AS customer_name_at_order, a.city AS city_at_order
    FROM orders o LEFT JOIN customers c USING (customer_id) LEFT JOIN addresses a USING (address_id) LEFT JOIN shipping_carriers s USING (carrier_id) LEFT JOIN lines l USING (order_id)''', reread=False)
publish("daily_sales", '''SELECT CAST(f.ordered_at AS DATE) AS day, coalesce(p.category_path, 'unknown') AS category, count(*) AS item_count, count(DISTINCT f.order_id) AS order_count,
    sum(f.quantity) AS quantity, sum(f.line_total) AS revenue FROM fact_order_items f LEFT JOIN dim_product p USING (product_key) GROUP BY 1, 2''', reread=False)
publish("top_products", '''WITH sales AS (SELECT product_key, sum(quantity) AS quantity, sum(line_total) AS revenue FROM fact_order_items GROUP BY product_key),
    ranked AS (SELECT coalesce(p.category_path, 'unknown') AS category, row_number() OVER (PARTITION BY p.category_path ORDER BY s.revenue DESC, p.product_id) AS rank,
    p.product_id, p.product_name, s.quantity, s.revenue FROM sales s JOIN dim_product p USING (product_key)) SELECT * FROM ranked WHERE rank <= 10''', reread=False)
"""


BLOG = r"""
take("users")
take("posts")
take("comments", "post_id, author_id")
take("likes", "post_id")
take("follows", "follower_id, following_id")
publish("dim_user", "SELECT row_number() OVER (ORDER BY id) AS user_key, id AS user_id, name, email, created_at FROM users", reread=False)
publish("dim_user_profile", '''SELECT row_number() OVER (ORDER BY id) AS profile_key, id AS user_id, bio, settings,
    json_extract_string(settings, 'theme') AS theme, json_extract_string(settings, 'language') AS language FROM users''', reread=False)
publish("posts_with_author", '''SELECT p.id AS post_id, p.title, p.body, p.created_at, p.author_id, u.name AS author_name, u.email AS author_email,
    coalesce(c.n, 0) AS comment_count, coalesce(l.n, 0) AS like_count FROM posts p LEFT JOIN users u ON u.id = p.author_id
    LEFT JOIN (SELECT post_id, count(*) AS n FROM comments GROUP BY 1) c ON c.post_id = p.id
    LEFT JOIN (SELECT post_id, count(*) AS n FROM likes GROUP BY 1) l ON l.post_id = p.id''', reread=False)
publish("user_stats", '''SELECT u.id AS user_id, u.name, coalesce(w.n, 0) AS post_count, coalesce(s.n, 0) AS comment_count, coalesce(d.n, 0) AS follower_count,
    coalesce(g.n, 0) AS following_count FROM users u LEFT JOIN (SELECT author_id, count(*) AS n FROM posts GROUP BY 1) w ON w.author_id = u.id
    LEFT JOIN (SELECT author_id, count(*) AS n FROM comments GROUP BY 1) s ON s.author_id = u.id
    LEFT JOIN (SELECT following_id, count(*) AS n FROM follows GROUP BY 1) d ON d.following_id = u.id
    LEFT JOIN (SELECT follower_id, count(*) AS n FROM follows GROUP BY 1) g ON g.follower_id = u.id''', reread=False)
publish("daily_post_stats", '''SELECT CAST(p.created_at AS DATE) AS day, p.author_id, count(*) AS post_count, CAST(coalesce(sum(c.n), 0) AS BIGINT) AS comment_count
    FROM posts p LEFT JOIN (SELECT post_id, count(*) AS n FROM comments GROUP BY 1) c ON c.post_id = p.id GROUP BY 1, 2''', reread=False)
"""

FEED = r"""
take("users", "id, name")
take("posts", "id, author_id, created_at")
take("follows", "follower_id, following_id")
publish("feed_items", '''SELECT w.user_id, w.post_id, w.created_at, w.author_id, u.name AS author_name FROM (
    SELECT f.follower_id AS user_id, p.id AS post_id, p.author_id, p.created_at, row_number() OVER (PARTITION BY f.follower_id ORDER BY p.created_at DESC, p.id DESC) AS place
    FROM follows f JOIN posts p ON p.author_id = f.following_id) w LEFT JOIN users u ON u.id = w.author_id WHERE w.place <= 50''', reread=False)
"""

SYSTEMS = {
    "shop": System(
        grow="data/shop/grow.sql", source="SHOP_SOURCE", pipelines={"shop": SHOP},
        large=[("order_items", "item_id"), ("orders", "order_id")],
        small=["customers", "addresses", "products", "categories", "shipping_carriers"],
        # One order in a hundred gets another carrier, a few customers a name.
        day=["UPDATE orders SET carrier_id = carrier_id % 8 + 1 WHERE order_id % 100 = {n}",
             "UPDATE customers SET full_name = full_name || '.' WHERE customer_id % 1000 = {n}", "VACUUM orders", "VACUUM customers"],
        title="{orders:,} orders, {items:,} items"),
    "blog": System(
        grow="data/blog/grow.sql", source="BLOG_SOURCE", pipelines={"blog": BLOG, "feed": FEED},
        large=[("comments", "id"), ("posts", "id"), ("likes", "post_id")], small=["users", "follows"],
        # One post in a hundred is written anew, one user in a hundred follows somebody else, a few change their name.
        day=["UPDATE posts SET title = title || '.' WHERE id % 100 = {n}", "UPDATE users SET name = name || '.' WHERE id % 1000 = {n}",
             "DELETE FROM follows WHERE follower_id % 1000 = {n} AND following_id % 2 = 0",
             "INSERT INTO comments SELECT (SELECT max(id) FROM comments) + n, n * 97 + 1, n + 1, 'New', now() FROM generate_series(1, {users} / 10) AS n",
             "VACUUM posts", "VACUUM users", "VACUUM comments", "VACUUM follows"],
        title="{users:,} users, {posts:,} posts, {comments:,} comments and likes"),
}


def peer(script, url, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return measured([sys.executable, "-c", PEER_SESSION + script, url, folder])


def has_peer():
    check = "import duckdb, duckdb_extension_postgres_scanner"
    return subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == 0


def show(title, rounds, key="wall"):
    values = sorted(result[key] for result in rounds)
    return f"{title:34} {statistics.median(values):7.2f}  {values[0]:7.2f} – {values[-1]:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=sorted(SYSTEMS), default="shop")
    parser.add_argument("--orders", type=int, default=500_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bucket", action="store_true", help="the shop's nights into a bucket, too")
    options = parser.parse_args()
    if not STARMILL.exists():
        sys.exit("build it first: cargo build --release")
    system = SYSTEMS[options.system]
    cluster = Cluster()
    work = tempfile.mkdtemp(prefix="starmill-night")
    buckets = Buckets(work) if options.bucket and options.system == "shop" else None
    try:
        sizes = ["-v", f"orders={options.orders}", "-v", f"users={options.users}"]
        subprocess.run(["psql", "-X", "-q", "-d", cluster.url, *sizes, "-f", system.grow], check=True, cwd=ROOT)
        copies, rounds = [], {name: {kind: [] for kind in KINDS} for name in system.pipelines}
        with_peer = has_peer()
        for name in system.pipelines:
            night(system, name, cluster.url, work, fresh=True)  # warms the page cache
        for number in range(options.rounds):
            copies.append(raw_copy(cluster.url, system))
            for name, script in system.pipelines.items():
                rounds[name]["first"].append(night(system, name, cluster.url, work, fresh=True))
                if buckets:
                    bucket = {**buckets.environment, "SHOP_STORE": buckets.fresh()}
                    rounds[name]["first in a bucket"].append(night(system, name, cluster.url, work, True, bucket))
                if with_peer:
                    rounds[name]["peer"].append(peer(script, cluster.url, f"{work}/peer"))
            for statement in system.day:
                statement = statement.format(n=number, users=options.users)
                subprocess.run(["psql", "-X", "-q", "-d", cluster.url, "-c", statement], check=True)
            for name in system.pipelines:
                rounds[name]["later"].append(night(system, name, cluster.url, work, fresh=False))
                if buckets:
                    rounds[name]["later in a bucket"].append(night(system, name, cluster.url, work, False, bucket))
        counts = {"orders": options.orders, "items": options.orders * 3, "users": options.users,
                  "posts": options.users * 10, "comments": options.users * 50}
        print(f"{system.title.format(**counts)}, medians of {options.rounds} interleaved rounds\n")
        print(f"{'':34} {'median':>7}  lowest – highest (seconds)")
        print(show("raw COPY, two connections", copies))
        for name, of in rounds.items():
            report(name, of, statistics.median(result["wall"] for result in copies))
        if len(rounds) > 1:
            together(rounds)
        if options.system == "shop":
            growth(system, cluster.url, work, options)
    finally:
        cluster.close()
        if buckets:
            buckets.close()
        shutil.rmtree(work, ignore_errors=True)


KINDS = ["first", "later", "peer", "first in a bucket", "later in a bucket"]


def together(rounds):
    """All pipelines of the system, one after the other."""
    sums = {kind: [{"wall": sum(result["wall"] for result in results)} for results in zip(*(of[kind] for of in rounds.values()))]
            for kind in KINDS[:3]}
    print(f"\n{' and '.join(rounds)} together")
    for title, kind in [("first nights", "first"), ("later nights", "later"), ("DuckDB", "peer")]:
        if sums[kind]:
            print(show(title, sums[kind]))
    if sums["peer"]:
        duck = statistics.median(result["wall"] for result in sums["peer"])
        for title, kind in [("first nights", "first"), ("later nights", "later")]:
            print(f"{'  ' + title + ' beside DuckDB':34} {statistics.median(result['wall'] for result in sums[kind]) / duck:6.2f}x")


NIGHTS = 14


def growth(system, url, work, options):
    """What the store keeps of nights that each change 1 % at the newest end: bytes of data files."""
    kept = lambda: {path: os.path.getsize(path) for path in glob.glob(f"{work}/shop/tables/*/*.parquet")}
    night(system, "shop", url, work, fresh=True)
    before = first = kept()
    shares = []
    newest = options.orders - options.orders // 100
    for number in range(NIGHTS - 1):
        change = f"UPDATE orders SET carrier_id = (carrier_id + {number}) % 8 + 1 WHERE order_id > {newest}"
        subprocess.run(["psql", "-X", "-q", "-d", url, "-c", change, "-c", "VACUUM orders"], check=True)
        night(system, "shop", url, work, fresh=False)
        after = kept()
        shares.append(sum(size for path, size in after.items() if path not in before) / sum(first.values()))
        before = after
    whole = sum(first.values())
    print(f"\nfirst night's data files: {len(first)}, {whole / 1e6:.1f} MB; a night with 1 % changed at the newest end adds "
          f"{statistics.median(shares):.3f} of that (at most {max(shares):.3f}); {NIGHTS} snapshots take {sum(before.values()) / whole:.2f} of one")


def report(name, rounds, copy):
    print(f"\n{name}")
    for title, key in [("first night", "first"), ("later night, 1 % changed", "later")]:
        print(show(title, rounds[key]))
        print(show("  its CPU", rounds[key], "cpu"))
        wall = statistics.median(result["wall"] for result in rounds[key])
        peak = max(result["rss"] for result in rounds[key])
        print(f"{'  beside raw COPY, peak memory':34} {wall / copy:6.2f}x  {peak / 1e6:.0f} MB")
    if rounds["first in a bucket"]:
        for key in ["first", "later"]:
            print(show(f"{key} night, in a bucket", rounds[f"{key} in a bucket"]))
            wall = statistics.median(result["wall"] for result in rounds[f"{key} in a bucket"])
            folder = statistics.median(result["wall"] for result in rounds[key])
            print(f"{'  beside the folder':34} {wall / folder:6.2f}x")
    if rounds["peer"]:
        print(show("DuckDB, same models, unaudited", rounds["peer"]))
        print(show("  its CPU", rounds["peer"], "cpu"))
        duck = statistics.median(result["wall"] for result in rounds["peer"])
        peak = max(result["rss"] for result in rounds["peer"])
        for title, key in [("first night", "first"), ("later night", "later")]:
            wall = statistics.median(result["wall"] for result in rounds[key])
            print(f"{'  ' + title + ' beside DuckDB':34} {wall / duck:6.2f}x  (its peak {peak / 1e6:.0f} MB)")
    else:
        print("DuckDB is not installed: no peer in this run")
    for title, key in [("first night", "first"), ("later night", "later")]:
        print(f"\n{title}, by step {'':16} wall ms   CPU ms   peak MB so far")
        steps = [result["report"]["steps"] for result in rounds[key]]
        for place, step in enumerate(steps[0]):
            of = lambda name: statistics.median(run[place][name] for run in steps)
            print(f"  {step['step']:32} {of('wall_ms'):8.0f} {of('cpu_ms'):8.0f} {of('peak_rss_bytes') / 1e6:8.0f}")


if __name__ == "__main__":
    main()
