"""What goes wrong with the stack, said so that one can act on it."""


class StackError(Exception):
    """The stack cannot do what it was asked; the text says why and what to do."""
