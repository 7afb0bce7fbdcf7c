"""What the samples have in common: CSV as COPY writes it, and times as Postgres prints them."""

from datetime import timedelta, timezone


def cell(value):
    """COPY's CSV: NULL is an unquoted empty field, the empty string is quoted."""
    if value is None:
        return ""
    text = str(value)
    if text == "" or any(c in text for c in ',"\r\n') or text.strip() != text:
        return '"' + text.replace('"', '""') + '"'
    return text


def write(folder, name, header, rows):
    lines = [",".join(header)] + [",".join(map(cell, row)) for row in rows]
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def stamp(moment, offset=0):
    """A timestamptz as Postgres prints it, in a zone of so many hours."""
    zone = timezone(timedelta(hours=offset))
    text = moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}{offset:+03}"
