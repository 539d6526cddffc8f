"""HTTP: middleware, CRUD, query language, problem details."""
