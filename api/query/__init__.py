"""The query language: what a query string may ask, read into clauses, orders and shapes."""
