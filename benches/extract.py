#!/usr/bin/env python3
"""Extraction beside raw COPY and, if it is installed, beside DuckDB. Interleaved rounds, medians.

    cargo build --release
    pip install tpchgen-cli==4.0.0                     TPC-H's lineitem, scale 1: 6.0 million rows
    pip install duckdb==1.5.5 duckdb-extension-postgres-scanner, to have the peer in the same rounds
    python3 benches/extract.py                         all tables, five rounds
    python3 benches/extract.py --rounds 3 --tables reviews

It starts a throw-away Postgres of its own (initdb on the PATH), fills it, and removes it at the end.
Every figure is of the client process alone; the server shares the machine's cores.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from night import PEER_SESSION, STARMILL, Cluster, has_peer, measured

LINEITEM = """CREATE TABLE lineitem (l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber int,
    l_quantity numeric(15,2), l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2),
    l_returnflag char(1), l_linestatus char(1), l_shipdate date, l_commitdate date, l_receiptdate date,
    l_shipinstruct char(25), l_shipmode char(10), l_comment varchar(44))"""
REVIEWS = """CREATE TABLE reviews (review_id bigint, email text, author text, title text, body text, url text,
    status text, stars smallint, written_at timestamptz)"""
ARTICLES = "CREATE TABLE articles (article_id bigint, title text, body text, written_at timestamptz)"
EVENTS = "CREATE TABLE events (event_id bigint, kind text, payload jsonb, happened_at timestamptz)"


def psql(url, *commands, **options):
    arguments = [word for command in commands for word in ("-c", command)]
    return subprocess.run(["psql", "-X", "-q", "-At", "-d", url, *arguments], check=True, **options)


def fill_lineitem(url, folder):
    generator = shutil.which("tpchgen-cli") or str(Path(sys.executable).parent / "tpchgen-cli")
    if not Path(generator).exists():
        sys.exit("lineitem needs TPC-H's generator: pip install tpchgen-cli==4.0.0")
    subprocess.run([generator, "csv", "-s", "1", "--tables", "lineitem", "--output-dir", folder], check=True,
                   capture_output=True)
    psql(url, LINEITEM)
    with open(f"{folder}/lineitem.csv", "rb") as rows:
        psql(url, "COPY lineitem FROM STDIN (FORMAT csv, HEADER)", "VACUUM (FREEZE, ANALYZE) lineitem", stdin=rows)
    os.remove(f"{folder}/lineitem.csv")


def fill(url, table, declared, rows):
    psql(url, declared)
    copy = subprocess.Popen(["psql", "-X", "-q", "-d", url, "-c", f"COPY {table} FROM STDIN", "-c",
                             f"VACUUM (FREEZE, ANALYZE) {table}"], stdin=subprocess.PIPE, text=True)
    for row in rows:
        copy.stdin.write("\t".join(map(str, row)) + "\n")
    copy.stdin.close()
    if copy.wait() != 0:
        sys.exit(f"filling {table} failed")


class Words:
    """Words as people write them: few are frequent, as in any language."""

    def __init__(self):
        random.seed(7)
        letters = "aeioubcdfglmnprst"
        self.all = ["".join(random.choice(letters) for _ in range(2 + random.randrange(8))) for _ in range(2000)]
        self.stream = [self.all[int(2000 * random.random() ** 3)] for _ in range(1 << 20)]

    def text(self, least, most):
        start = random.randrange(len(self.stream) - most)
        return " ".join(self.stream[start:start + random.randint(least, most)])

    def name(self):
        return f"{random.choice(self.all).title()} {random.choice(self.all).title()}"


def instant(second):
    return time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(1_704_067_200 + second))


def fill_reviews(url, _):
    """Two and a half million short texts: a body of 350 bytes, names, addresses."""
    words = Words()
    fill(url, "reviews", REVIEWS, (
        (number, f"customer{random.randrange(200_000)}@example.com", words.name(), words.text(3, 7), words.text(10, 100),
         f"https://shop.example.com/products/{random.randrange(50_000)}",
         random.choice(("new", "approved", "rejected", "flagged")), random.randint(1, 5), instant(number * 31))
        for number in range(1, 2_500_001)))


def fill_articles(url, _):
    """Texts of 10 KB, which Postgres keeps compressed in TOAST."""
    words = Words()
    fill(url, "articles", ARTICLES, (
        (number, words.text(3, 9), words.text(400, 2600), instant(number * 310)) for number in range(1, 120_001)))


def fill_events(url, _):
    """Documents of some 250 bytes, as jsonb."""
    words = Words()

    def payload():
        items = [{"sku": f"P-{random.randrange(9999)}", "price": round(random.random() * 100, 2),
                  "quantity": random.randint(1, 5)} for _ in range(random.randint(0, 4))]
        return json.dumps({"session": f"{random.getrandbits(64):016x}", "page": f"/products/{random.randrange(50_000)}",
                           "agent": random.choice(("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (iPhone)")),
                           "items": items, "query": words.text(1, 5)})

    fill(url, "events", EVENTS, (
        (number, random.choice(("view", "cart", "order")), payload(), instant(number * 3))
        for number in range(1, 1_500_001)))


FILL = {"lineitem": fill_lineitem, "reviews": fill_reviews, "articles": fill_articles, "events": fill_events}


def raw_copy(url, table, pages):
    """psql to nowhere, on two connections, half of the pages each."""
    halves = [f"ctid < '({pages // 2},0)'", f"ctid >= '({pages // 2},0)'"]
    start = time.monotonic()
    both = [subprocess.Popen(["psql", "-X", "-q", "-d", url, "-c",
                              f"COPY (SELECT * FROM {table} WHERE {half}) TO STDOUT (FORMAT binary)"],
                             stdout=subprocess.DEVNULL) for half in halves]
    if any(process.wait() != 0 for process in both):
        sys.exit("raw COPY failed")
    return {"wall": time.monotonic() - start}


def extract(project, table, to):
    if to:
        shutil.rmtree(to, ignore_errors=True)
    where = ["--to", to] if to else ["--dry-run"]
    result = measured([str(STARMILL), "extract", "pipelines/bench.toml", "--table", table, *where],
                      stdout=subprocess.PIPE, cwd=project)
    if to:
        result["bytes"] = sum(path.stat().st_size for path in Path(to).rglob("*.parquet"))
    return result


PEER = PEER_SESSION + r"""
table, out = sys.argv[2:4]
db.execute(f"COPY (SELECT * FROM source.public.{table}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
"""


def peer(url, table, out):
    result = measured([sys.executable, "-c", PEER, url, table, out])
    result["bytes"] = os.path.getsize(out)
    return result


def line(title, rounds, copy):
    walls = sorted(result["wall"] for result in rounds)
    text = f"{title:30} {statistics.median(walls):6.2f}  {walls[0]:6.2f} – {walls[-1]:<6.2f} {statistics.median(walls) / copy:5.2f}x"
    if "cpu" in rounds[0]:
        text += f"  {statistics.median(result['cpu'] for result in rounds):6.2f}  {max(result['rss'] for result in rounds) / 1e6:6.0f}"
    if "bytes" in rounds[0]:
        text += f"  {statistics.median(result['bytes'] for result in rounds) / 1e6:7.1f}"
    return text


def bench(cluster, table, options, work):
    pages = int(psql(cluster.url, f"SELECT pg_relation_size('{table}') / 8192", capture_output=True).stdout)
    size = int(psql(cluster.url, f"SELECT pg_table_size('{table}')", capture_output=True).stdout)
    rounds = {"copy": [], "arrow": [], "parquet": [], "peer": []}
    raw_copy(cluster.url, table, pages)  # warms the page cache
    for _ in range(options.rounds):
        rounds["copy"].append(raw_copy(cluster.url, table, pages))
        rounds["arrow"].append(extract(work, table, None))
        rounds["parquet"].append(extract(work, table, f"{work}/taken"))
        if has_peer():
            rounds["peer"].append(peer(cluster.url, table, f"{work}/peer.parquet"))
    copy = statistics.median(result["wall"] for result in rounds["copy"])
    print(f"\n{table}, {size / 1e6:.0f} MB, medians of {options.rounds} interleaved rounds")
    print(f"{'':30} {'median':>6}  lowest – highest  beside   CPU s  peak MB  Parquet MB")
    print(line("raw COPY, two connections", rounds["copy"], copy))
    print(line("into Arrow", rounds["arrow"], copy))
    print(line("into zstd Parquet, on disk", rounds["parquet"], copy))
    if rounds["peer"]:
        print(line("DuckDB into zstd Parquet", rounds["peer"], copy))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tables", nargs="+", choices=FILL, default=list(FILL))
    options = parser.parse_args()
    if not STARMILL.exists():
        sys.exit("build it first: cargo build --release")
    cluster = Cluster()
    work = tempfile.mkdtemp(prefix="starmill-extract")
    try:
        os.makedirs(f"{work}/pipelines")
        os.makedirs(f"{work}/sql/bench")
        Path(f"{work}/sql/bench/one.sql").write_text("SELECT 1 AS one")
        Path(f"{work}/pipelines/bench.toml").write_text(
            f'name = "bench"\n[source]\nurl = "{cluster.url}"\n[store]\nurl = "out"\n[summary.one]\n')
        for table in options.tables:
            FILL[table](cluster.url, work)
            bench(cluster, table, options, work)
    finally:
        cluster.close()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
