"""The local stack: PostgreSQL, SeaweedFS, the services and Envoy, installed from wheels."""

from stack.errors import StackError
from stack.settings import StackSettings
from stack.stack import Stack

__all__ = ["Stack", "StackError", "StackSettings"]
