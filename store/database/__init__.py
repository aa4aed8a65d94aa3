"""Tables, migrations and transactions, on SQLite and PostgreSQL."""
