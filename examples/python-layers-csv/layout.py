"""What writing and verifying share."""

from componentize_py_types import Err
from wit_world.exports import writer

CONFIG = "config.json"
TABLE = "layers.csv"

# The most that one `write` or `read` may carry.
CALL = 64 * 1024


def host(call, *arguments):
    """A call of the host. What it refuses ends the session; the user is told why by the host."""
    try:
        return call(*arguments)
    except Err as refused:
        raise Err(writer.Error_Host(refused.value)) from None
