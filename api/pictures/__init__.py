"""Draws pictures: SVG of our own, tables of the same numbers, and the page around them. No script, no other host."""
