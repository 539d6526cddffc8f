"""Who is asking, and what the database lets them see."""
