#!/usr/bin/env python3
"""Into a target: the first load, a night with 1 % of the fact changed, a night without a change, one that gives a measure a wider type
(beside the server's own ALTER TABLE of the same rows). Interleaved rounds, medians.

    cargo build --release
    python3 benches/deliver.py                       500,000 orders, 1,500,000 items, five rounds
    python3 benches/deliver.py --orders 50000 --rounds 3

It starts a throw-away Postgres of its own. Each target is a database of its own, its fact with a primary key and two indexes.
Seconds are those of the run's step "load"; WAL is what the server wrote meanwhile.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from night import ROOT, STARMILL, Cluster

CHANGES = {
    # Some of every part of the fact; a hundredth of it.
    "scattered": "UPDATE order_items SET line_total = line_total + 0.01 WHERE item_id % 100 = {round}",
    # Its newest end.
    "newest": "UPDATE order_items SET line_total = line_total + 0.01 "
              "WHERE item_id > (SELECT max(item_id) - count(*) / 100 FROM order_items)",
}


def project(folder, url, target):
    shutil.copytree(ROOT / "sql" / "shop", folder / "sql" / "bench")
    for sql in (folder / "sql" / "bench").iterdir():
        if sql.stem not in ("fact_order_items", "dim_customer", "dim_product", "dim_carrier"):
            sql.unlink()
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "bench.toml").write_text(f"""
name = "bench"
timezone = "Europe/Berlin"
[source]
url = "{url}"
[store]
url = "out"
[target]
url = "{target}"
[dimension.dim_customer]
key = ["customer_id"]
surrogate = "customer_key"
[dimension.dim_product]
key = ["product_id"]
surrogate = "product_key"
[dimension.dim_carrier]
key = ["carrier_id"]
surrogate = "carrier_key"
[fact.fact_order_items]
key = ["item_id"]
grain = "order_items"
measures = ["quantity", "line_total"]
indexes = [["customer_key"], ["product_key"]]
lookups.customer_key = {{ dimension = "dim_customer", on = ["customer_id"] }}
lookups.product_key = {{ dimension = "dim_product", on = ["product_id"] }}
lookups.carrier_key = {{ dimension = "dim_carrier", on = ["carrier_id"] }}
""")


def ask(url, sql):
    return subprocess.run(["psql", "-X", "-A", "-t", "-q", "-d", url, "-c", sql], check=True, capture_output=True, text=True).stdout.strip()


def night(folder, url):
    before = ask(url, "SELECT pg_current_wal_lsn()")
    ran = subprocess.run([str(STARMILL), "run", "pipelines/bench.toml", "--format", "json"], cwd=folder,
                         capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(ran.stderr)
    report = json.loads(ran.stdout)
    load = next(step for step in report["steps"] if step["step"] == "load")
    wal = float(ask(url, f"SELECT pg_current_wal_lsn() - '{before}'::pg_lsn"))
    tables = {table["table"]: table for table in report["delivery"]["tables"]}
    return load["wall_ms"] / 1000, wal / 1e6, tables["fact_order_items"]


def alter(target):
    """Seconds of the server's own retype of a table of the same rows, keys and indexes."""
    ask(target, "DROP TABLE IF EXISTS own; CREATE TABLE own (LIKE mart.fact_order_items INCLUDING ALL); "
                "INSERT INTO own SELECT * FROM mart.fact_order_items; ANALYZE own")
    began = time.monotonic()
    ask(target, "ALTER TABLE own ALTER COLUMN quantity TYPE bigint")
    return time.monotonic() - began


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--orders", type=int, default=500_000)
    options.add_argument("--rounds", type=int, default=5)
    options = options.parse_args()
    cluster = Cluster()
    try:
        url = cluster.url
        grow = ["psql", "-X", "-q", "-d", url, "-v", f"orders={options.orders}", "-f", "data/shop/grow.sql"]
        subprocess.run(grow, check=True, cwd=ROOT)
        found = {what: [] for what in ("first load", "no change", *CHANGES, "retype")}
        own = []
        for round in range(options.rounds):
            ask(url, "DROP DATABASE IF EXISTS target (FORCE)")
            ask(url, "CREATE DATABASE target")
            target = url.rsplit("/", 1)[0] + "/target"
            with tempfile.TemporaryDirectory(prefix="starmill-bench") as folder:
                folder = Path(folder)
                project(folder, url, target)
                found["first load"].append(night(folder, url))
                for what, sql in CHANGES.items():
                    ask(url, sql.format(round=round))
                    found[what].append(night(folder, url))
                found["no change"].append(night(folder, url))
                own.append(alter(target))
                model = folder / "sql" / "bench" / "fact_order_items.sql"
                wider = model.read_text().replace("i.quantity,", "CAST(i.quantity AS bigint) AS quantity,")
                model.write_text(wider)
                found["retype"].append(night(folder, url))
            print(f"round {round + 1} of {options.rounds}", file=sys.stderr)
        show(found)
        retype, own = statistics.median(seconds for seconds, _, _ in found["retype"]), statistics.median(own)
        print(f"the server's own ALTER TABLE … TYPE bigint: {own:.2f} s; the retype is {retype / own:.2f} of it")
    finally:
        cluster.close()


def show(found):
    first = statistics.median(seconds for seconds, _, _ in found["first load"])
    print(f"{'':14}{'seconds':>9}  {'lowest – highest':>18}  {'of the first load':>18}  {'WAL MB':>8}  rows changed")
    for what, rounds in found.items():
        seconds = [seconds for seconds, _, _ in rounds]
        wal = statistics.median(wal for _, wal, _ in rounds)
        fact = rounds[-1][2]
        changed = fact["inserted"] + fact["updated"] + fact["deleted"]
        median = statistics.median(seconds)
        spread = f"{min(seconds):.2f} – {max(seconds):.2f}"
        print(f"{what:14}{median:9.2f}  {spread:>18}  {median / first:18.3f}  {wal:8.1f}  {changed:,}")


if __name__ == "__main__":
    main()
