"""The CRUD protocol: what a client reads and writes at `/api/{table}/`."""
