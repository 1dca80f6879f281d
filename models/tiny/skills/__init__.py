"""What the tiny model is taught, one file per kind of skill.

A skill is a function from a seeded random generator to a `Dialogue`. Skills know nothing of tokens, templates or training; every text they
produce is written here or put together from word lists in `words.py`.
"""
