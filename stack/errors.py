"""The error of the stack."""


class StackError(Exception):
    """The stack cannot do what it should; the text says why and what to do."""
