"""The database's history: one file a step, SQL written as SQL."""
