#!/usr/bin/env python3
"""What Postgres's own meaning costs: numeric division and to_char over six million rows, beside DuckDB's `/` on doubles and
strftime over the same Parquet in the same rounds; and how long `check` takes of many models.

    cargo build --release
    pip install duckdb==1.5.5
    python3 benches/dialect.py [ROWS] [ROUNDS]
"""

import pathlib
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/starmill"
ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 6_000_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
MODELS = 200

QUESTIONS = {
    "count, for comparison": ("SELECT sum(n) AS s FROM f", "SELECT sum(n) FROM {f}"),
    "division": (
        "SELECT sum(round(n / m, 6)) AS s FROM f",
        "SELECT sum(n::double / m::double) FROM {f}",
    ),
    "to_char": (
        "SELECT max(to_char(made, 'YYYY-MM-DD HH24:MI')) AS s FROM f",
        "SELECT max(strftime(made, '%Y-%m-%d %H:%M')) FROM {f}",
    ),
}


def timed(command, **more):
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, **more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu


def table(folder):
    """A fact of prices, quantities and times, published by starmill from CSV."""
    (folder / "data").mkdir()
    (folder / "pipelines").mkdir()
    (folder / "sql/p").mkdir(parents=True)
    (folder / "data/schema.sql").write_text(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric(12,2) NOT NULL, m numeric(10,2) NOT NULL, made timestamp NOT NULL);"
    )
    random.seed(1)
    with open(folder / "data/t.csv", "w") as out:
        out.write("id,n,m,made\n")
        for row in range(ROWS):
            n, m = random.randrange(1, 10_000_000), random.randrange(1, 5_000)
            day, minute = row % 365, random.randrange(1_440)
            made = f"2024-{1 + day // 31:02}-{1 + day % 28:02} {minute // 60:02}:{minute % 60:02}:00"
            out.write(f"{row},{n / 100:.2f},{m / 100:.2f},{made}\n")
    (folder / "pipelines/p.toml").write_text(
        'name = "p"\n[source]\nurl = "data"\n[store]\nurl = "out"\n[run]\nmemory = "1GB"\n[fact.f]\nkey = ["id"]\ngrain = "t"\n'
    )
    (folder / "sql/p/f.sql").write_text("SELECT id, n, m, made FROM t\n")
    subprocess.run([BINARY, "run", "pipelines/p.toml"], cwd=folder, check=True, capture_output=True)


def many_models(folder):
    """A pipeline of as many models as a large team has, over the bundled shop."""
    models = folder / "sql/many"
    models.mkdir(parents=True)
    text = [f'name = "many"\n[source]\nurl = "{ROOT / "data/shop"}"\n[store]\nurl = "many-out"\n']
    sql = (ROOT / "sql/shop/order_summary.sql").read_text()
    for number in range(MODELS):
        text.append(f'[summary.m{number}]\nkey = ["order_id"]\n')
        (models / f"m{number}.sql").write_text(sql)
    (folder / "pipelines/many.toml").write_text("".join(text))


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        table(folder)
        many_models(folder)
        files = folder / "out/latest/f/*.parquet"
        took = {}
        for _ in range(ROUNDS):
            for what, (ours, theirs) in QUESTIONS.items():
                ask = [BINARY, "query", "pipelines/p.toml", ours, "--format", "csv"]
                took.setdefault((what, "starmill"), []).append(timed(ask, cwd=folder))
                query = theirs.format(f=f"'{files}'")
                peer = f"import duckdb; duckdb.execute('SET threads = 2'); print(duckdb.sql({query!r}).fetchall())"
                took.setdefault((what, "DuckDB"), []).append(timed([sys.executable, "-c", peer]))
            check = [BINARY, "check", "pipelines/many.toml"]
            took.setdefault((f"check of {MODELS} models", "starmill"), []).append(timed(check, cwd=folder))
        for (what, who), rounds in took.items():
            wall = [wall for wall, _ in rounds]
            cpu = statistics.median(cpu for _, cpu in rounds)
            peer = took.get((what, "DuckDB"))
            beside = ""
            if who == "starmill" and peer:
                beside = f"  {statistics.median(wall) / statistics.median(w for w, _ in peer):.2f} of DuckDB"
            print(
                f"{what:<24} {who:<9} {statistics.median(wall):6.2f} s ({min(wall):.2f} - {max(wall):.2f})"
                f"  CPU {cpu:6.2f} s{beside}"
            )


main()
