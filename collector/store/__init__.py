"""The collector's memory: SQLite embedded, or PostgreSQL when there are several collectors. One code path for both."""
