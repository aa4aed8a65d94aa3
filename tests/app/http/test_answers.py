import pytest

from app.http.answers import preferred

OFFERS = ["text/csv", "application/vnd.apache.parquet"]
CSV, PARQUET = OFFERS


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, CSV),
        ("", CSV),
        (" , ", CSV),
        ("*/*", CSV),
        ("text/csv", CSV),
        ("text/*", CSV),
        ("Text/CSV; header=present", CSV),
        (PARQUET, PARQUET),
        ("application/*", PARQUET),
        (f"{PARQUET}, */*", PARQUET),
        (f"{PARQUET};q=0.5, */*", CSV),
        (f"{PARQUET};q=0.5, text/*;q=0.1", PARQUET),
        ("text/csv;q=0, */*", PARQUET),
        ("text/html, application/json, */*;q=0.1", CSV),
        ("application/json", None),
        ("text/csv;q=0", None),
        ("text/csv;q=much", None),
        ("*/*;q=0", None),
        ("application/json, */*;q=0", None),
        (f'text/csv;x="a, {PARQUET}";q=0.5, {PARQUET};q=0.4', CSV),
        (f'a/b;x=", {PARQUET}, ", text/csv', CSV),
        (f'a/b;x="\\", {PARQUET}, ", text/csv;q="0.5;"', None),
        (f'a/b;x="not closed, {PARQUET}', None),
        ('a/b;x="\\', None),
    ],
)
def test_what_a_client_would_rather_have_is_chosen(accept: str | None, chosen: str | None) -> None:
    assert preferred(accept, OFFERS) == chosen
