"""How the store's connections end: their time limits, and what an error of the database means."""
