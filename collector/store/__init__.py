"""The collector's database: embedded SQLite, or PostgreSQL for several collectors. The same code uses both."""
