"""What is kept: the database, the embedded one, and the spool while the database is away."""
