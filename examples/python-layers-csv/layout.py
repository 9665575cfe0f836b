"""Names and functions that writing and verifying share."""

from componentize_py_types import Err
from wit_world.exports import writer

CONFIG = "config.json"
TABLE = "layers.csv"

# The largest number of bytes per call of `write` or `read`.
CALL = 64 * 1024


def host(call, *arguments):
    """Calls the host. If the call fails, the session ends, and the host reports the cause to the user."""
    try:
        return call(*arguments)
    except Err as refused:
        raise Err(writer.Error_Host(refused.value)) from None
