"""Finds what could identify a patient in what a client writes. Knows no database, no HTTP and no table.

A guard, not a de-identification: what it does not recognise passes. `docs/domain.md` says what that is.
"""
