"""Attacks on a running product, on loopback only: `make attack`.

Each module has the attacks of one kind. An attack is a function that gets a target and
returns what it saw; `attack.registry` lists them with what is right. While an attack runs,
another client sends ordinary reads and measures how long it waits.
"""
