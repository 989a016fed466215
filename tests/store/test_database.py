"""How connections to PostgreSQL are opened."""

from __future__ import annotations

from sqlalchemy.engine import make_url

from nurture.store.database import NOTICED_WITHIN, Database


def given_to_libpq(url: str) -> dict[str, str]:
    database = Database(url)
    with database.reading() as connection:
        asked: dict[str, str] = connection.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]  # psycopg's
    database.close()
    return {name: asked[name] for name in NOTICED_WITHIN}


def test_a_server_that_went_away_without_a_word_is_noticed_soon(postgres_url: str) -> None:
    assert given_to_libpq(postgres_url) == {name: str(value) for name, value in NOTICED_WITHIN.items()}


def test_what_the_url_says_of_it_goes_first(postgres_url: str) -> None:
    url = make_url(postgres_url).update_query_dict({"tcp_user_timeout": "7000", "keepalives_idle": "30"})
    given = given_to_libpq(url.render_as_string(hide_password=False))
    assert (given["tcp_user_timeout"], given["keepalives_idle"], given["connect_timeout"]) == ("7000", "30", "10")
