"""The OpenAPI 3.1 document of all of `/api`, generated from the tables it serves."""
