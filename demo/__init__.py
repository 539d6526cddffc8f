"""Synthetic data of two clinics, and the commands that load and drop it."""
