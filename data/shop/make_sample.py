#!/usr/bin/env python3
"""Writes the sample's CSV files beside itself; the same files every time.

The odd cases are on purpose: orders without items, products never sold, names with quotes, commas,
accents and emoji, empty strings beside NULLs, two customers of one name, an order without a
carrier, orders at midnight in another zone, a leap day, stored totals that drifted.
"""

import random
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from sample import stamp, write

HERE = Path(__file__).parent
RANDOM = random.Random(20240229)

FIRST = "Ada Ben Chloé Dmitri Elif Farid Grace Hana Ivo Jörg Kemal Lucía Mei Noor Olga Pavel Quinn Rosa Søren Tomás Uma Vera Wei Ximena Yusuf Zoë".split()
LAST = "Abel Brandt Costa Dubois Eriksen Fischer García Haddad Ito Jansen Kowalski López Müller Nguyen O'Brien Petrov Quist Rossi Şahin Tanaka Ünal Vargas Weiß Xu Yılmaz Zhang".split()
CITIES = "Berlin Hamburg München Köln Leipzig Wien Zürich Basel Paris Lyon Madrid Sevilla Porto Oslo Malmö Århus Gdańsk Brno Łódź Gent".split()
STREETS = ["Main Street", "Hauptstraße", "Rue de l'Église", "Calle Mayor", "Via Roma", "Storgatan", "Kerkstraat"]
ADJECTIVES = "Amber Brisk Calm Dusty Early Fine Gentle Humble Ivory Jolly Keen Light Mellow Noble Olive Plain Quiet Rustic Silver Tidy".split()
NOUNS = "Anorak Basket Candle Drill Easel Flask Glove Hammer Iron Jacket Kettle Lamp Mug Notebook Oven Pillow Quilt Rug Scarf Tent".split()
COLORS = ["red", "blue", "green", "black", "white", "ocre brûlé"]
SIZES = ["XS", "S", "M", "L", "XL"]


def customers():
    odd = {
        1: ("Ada \"The Countess\" Abel", "ada@example.com"),
        2: ("Müller, Jörg", "joerg@example.com"),
        3: ("Zoë 🌟 O'Brien", ""),
        4: ("Mei Zhang", "mei.one@example.com"),
        5: ("Mei Zhang", "mei.two@example.com"),
        6: ("Line\nBreak", None),
    }
    for number in range(1, 1001):
        if number in odd:
            yield (number, *odd[number])
            continue
        first, last = RANDOM.choice(FIRST), RANDOM.choice(LAST)
        email = f"{first}.{last}.{number}@example.com".lower().replace("'", "") if RANDOM.random() > 0.05 else None
        yield number, f"{first} {last}", email


def addresses():
    number = 0
    for customer in range(1, 1001):
        for _ in range(1 + (RANDOM.random() < 0.2)):
            number += 1
            street = f"{RANDOM.choice(STREETS)} {RANDOM.randint(1, 200)}"
            postcode = None if RANDOM.random() < 0.03 else f"{RANDOM.randint(1000, 99999):05}"
            yield number, customer, street, RANDOM.choice(CITIES), postcode


CARRIERS = [(1, "DHL"), (2, "UPS"), (3, "Post, national"), (4, "Kurier \"Blitz\""), (5, "Never used")]


def categories():
    rows, number = [], 0
    for top, middles in [("Home", ["Kitchen", "Living"]), ("Outdoor", ["Camping", "Garden"]), ("Work", ["Tools", "Office"])]:
        number += 1
        top_id = number
        rows.append((top_id, top, None))
        for middle in middles:
            number += 1
            middle_id = number
            rows.append((middle_id, middle, top_id))
            for leaf in ["Basics", "Premium & Gifts"]:
                number += 1
                rows.append((number, leaf, middle_id))
    rows.append((number + 1, "Discontinued", None))
    return rows


def products(category_rows):
    parents = {row[2] for row in category_rows}
    leaves = [row[0] for row in category_rows if row[0] not in parents]
    for number in range(1, 301):
        name = f"{RANDOM.choice(ADJECTIVES)} {RANDOM.choice(NOUNS)}"
        if number == 7:
            name = 'Frame 30" × 40", "gold"'
        price = (Decimal(RANDOM.randint(199, 29999)) / 100).quantize(Decimal("0.01"))
        parts = []
        if RANDOM.random() < 0.9:
            parts.append(f'"size": "{RANDOM.choice(SIZES)}"')
        if RANDOM.random() < 0.9:
            parts.append(f'"color": "{RANDOM.choice(COLORS)}"')
        elif number % 2 == 0:
            parts.append('"color": null')
        if number % 40 == 0:
            parts.append('"weight": 1.50')
        yield number, name, RANDOM.choice(leaves), price, "{" + ", ".join(parts) + "}"


def orders_and_items(address_rows, product_rows):
    by_customer = {}
    for address, customer, *_ in address_rows:
        by_customer.setdefault(customer, []).append(address)
    sold = [row for row in product_rows if row[0] % 25 != 0]
    start = datetime(2024, 1, 1, tzinfo=timezone.utc)
    orders, items = [], []
    item = 0
    for order in range(1, 5001):
        customer = RANDOM.randint(1, 980)
        moment = start + timedelta(seconds=(order * 12_610) + RANDOM.randint(0, 9_000), microseconds=RANDOM.choice([0, 0, 500, 123456]))
        when = stamp(moment)
        if order == 10:
            when = "2024-02-29 12:00:00+00"
        elif order == 11:
            when = "2024-03-01 00:00:00+01"
        elif order == 12:
            when = "2024-12-31 23:59:59.999999-05"
        count = 0 if order % 97 == 0 else RANDOM.choice([1, 1, 2, 2, 2, 3, 3, 4, 4])
        total = Decimal("0.00")
        for _ in range(count):
            item += 1
            product = RANDOM.choice(sold)
            quantity = RANDOM.choice([1, 1, 1, 2, 3])
            # The price at the time of the order: at times a discount, now and then a gift.
            line = (product[3] * quantity * RANDOM.choice([100, 100, 100, 90, 75]) / 100).quantize(Decimal("0.01"))
            if RANDOM.random() < 0.002:
                line = Decimal("0.00")
            total += line
            items.append((item, order, product[0], quantity, line))
        if order % 211 == 0:
            total += Decimal("0.01")
        if order % 499 == 0:
            total = None
        carrier = None if order % 73 == 0 else RANDOM.choice([1, 1, 2, 3, 4])
        orders.append((order, customer, RANDOM.choice(by_customer[customer]), carrier, when, total))
    return orders, items


def main():
    category_rows = categories()
    product_rows = list(products(category_rows))
    customer_rows, address_rows = list(customers()), list(addresses())
    orders, items = orders_and_items(address_rows, product_rows)
    write(HERE, "customers", ["customer_id", "full_name", "email"], customer_rows)
    write(HERE, "addresses", ["address_id", "customer_id", "street", "city", "postcode"], address_rows)
    write(HERE, "shipping_carriers", ["carrier_id", "carrier_name"], CARRIERS)
    write(HERE, "categories", ["category_id", "name", "parent_id"], category_rows)
    write(HERE, "products", ["product_id", "product_name", "category_id", "unit_price", "attributes"], product_rows)
    write(HERE, "orders", ["order_id", "customer_id", "address_id", "carrier_id", "ordered_at", "order_total"], orders)
    write(HERE, "order_items", ["item_id", "order_id", "product_id", "quantity", "line_total"], items)


if __name__ == "__main__":
    main()
