#!/usr/bin/env python3
"""Writes the sample's CSV files beside itself; the same files every time.

The odd cases are on purpose: users who never posted, are followed by nobody or follow nobody, one who follows
themselves, two users of one name, bios that are empty beside NULL, posts of one instant, posts at midnight in another
zone, posts without comments or likes, comments of the post's own author, names with quotes, commas, accents and emoji.
"""

import random
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from sample import stamp, write

HERE = Path(__file__).parent
RANDOM = random.Random(20240301)
USERS, POSTS, JOINED = 500, 5_000, 12_258  # posts left-joined to comments make so many rows
START = datetime(2024, 1, 1, tzinfo=timezone.utc)

FIRST = "Ada Ben Chloé Dmitri Elif Farid Grace Hana Ivo Jörg Kemal Lucía Mei Noor Olga Pavel Quinn Rosa Søren Tomás Uma Vera Wei Ximena Yusuf Zoë".split()
LAST = "Abel Brandt Costa Dubois Eriksen Fischer García Haddad Ito Jansen Kowalski López Müller Nguyen O'Brien Petrov Quist Rossi Şahin Tanaka".split()
TOPICS = "bread bicycles clouds Rust gardens maps night trains opera Postgres rivers tea type volcanoes wool".split()
OPENINGS = ["On", "Notes about", "What nobody says about", "A year of", "Against", "In praise of", "Again:"]
REMARKS = ["Thank you.", "I doubt it.", "More of this, please!", "Nice, but why?", 'He said "no", twice.', "😀", "Source?", "Same here, since 2019."]


def users():
    odd = {1: "Ada \"The Countess\" Abel", 2: "Müller, Jörg", 3: "Zoë 🌟 O'Brien", 4: "Mei Zhang", 5: "Mei Zhang"}
    for number in range(1, USERS + 1):
        name = odd.get(number, f"{RANDOM.choice(FIRST)} {RANDOM.choice(LAST)}")
        email = None if RANDOM.random() < 0.05 else f"user.{number}@example.com"
        bio = RANDOM.choice([None, "", f"Writes about {RANDOM.choice(TOPICS)}.", f"{RANDOM.choice(TOPICS)} and {RANDOM.choice(TOPICS)}.\nNothing else."])
        settings = RANDOM.choice(["{}", '{"theme": "dark"}', '{"theme": "light", "mails": true}', '{"theme": null, "language": "de"}'])
        yield number, name, email, bio, settings, stamp(START - timedelta(days=400 - number / 2))


def posts():
    for number in range(1, POSTS + 1):
        moment = START + timedelta(seconds=number * 12_000 + RANDOM.randint(0, 9_000), microseconds=RANDOM.choice([0, 0, 0, 250_000]))
        when = stamp(moment)
        if 100 <= number < 103:
            when = "2024-01-15 12:00:00+00"
        elif number == 200:
            when = "2024-02-29 00:30:00+01"
        # Some write much; the last twenty never do.
        author = RANDOM.randint(1, 40) if RANDOM.random() < 0.3 else RANDOM.randint(1, USERS - 20)
        title = f"{RANDOM.choice(OPENINGS)} {RANDOM.choice(TOPICS)}"
        yield number, title, "" if number % 500 == 0 else f"{title}, part {number}.", author, when


def comments(post_rows):
    bare = {number for number in range(1, POSTS + 1) if RANDOM.random() < 0.2}
    counts = {number: 0 if number in bare else 1 for number in range(1, POSTS + 1)}
    spoken = [number for number in counts if number not in bare]
    for _ in range(JOINED - POSTS):
        counts[RANDOM.choice(spoken)] += 1
    number = 0
    for post, _, _, author, _ in post_rows:
        for place in range(counts[post]):
            number += 1
            by = author if RANDOM.random() < 0.1 else RANDOM.randint(1, USERS)
            yield number, post, by, RANDOM.choice(REMARKS), stamp(START + timedelta(seconds=post * 12_000 + 10_000 + place * 60))


def pairs(count, first, second):
    seen = {}
    while len(seen) < count:
        seen.setdefault((first(), second()), stamp(START + timedelta(seconds=len(seen) * 3_000)))
    return sorted((*pair, when) for pair, when in seen.items())


def main():
    post_rows = list(posts())
    write(HERE, "users", ["id", "name", "email", "bio", "settings", "created_at"], users())
    write(HERE, "posts", ["id", "title", "body", "author_id", "created_at"], post_rows)
    write(HERE, "comments", ["id", "post_id", "author_id", "body", "created_at"], comments(post_rows))
    write(HERE, "likes", ["user_id", "post_id", "created_at"], pairs(9_000, lambda: RANDOM.randint(1, USERS), lambda: RANDOM.randint(1, POSTS - 300)))
    # The first thirty follow nobody; the authors who write much are followed most.
    follows = pairs(4_000, lambda: RANDOM.randint(31, USERS), lambda: RANDOM.randint(1, 40) if RANDOM.random() < 0.3 else RANDOM.randint(1, USERS - 30))
    write(HERE, "follows", ["follower_id", "following_id", "created_at"], follows)


if __name__ == "__main__":
    main()
