"""The database: models, sessions, queries and migrations. It knows no page, no torch, no HTTP."""
