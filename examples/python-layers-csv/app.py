"""An output plugin for occystrap, in Python. It writes the image's config, its layers as the source has
them, and `layers.csv`, a table of the layers for spreadsheets.

componentize-py finds the exports of the world by name: the interfaces are the classes `Writer` and
`Verifier` in this file, and the resource `session` of `writer` is the class `Session` in `writer.py`.
"""

import csv
import io

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import verifier, writer
from wit_world.imports import storage
from wit_world.imports.storage import EntryKind

from layout import CALL, TABLE, host

# The largest table that is read, in bytes. An image has at most 1,000 layers, and a line has about 250
# bytes.
LARGEST_TABLE = 1024 * 1024


class Writer(exports.Writer):
    def describe(self) -> writer.Description:
        return writer.Description(
            name="layers-csv",
            version="0.1.0",
            summary="the config, the layers as they are stored, and a table of them as CSV",
            schemes=["layers-csv"],
            destination=writer.Destination.DIRECTORY,
            manifests=writer.ManifestForm.CUSTOM,
            options=[
                writer.OptionSpec(
                    name="delimiter",
                    kind=writer.OptionKind.TEXT,
                    default=",",
                    summary="the separator between the columns, one character",
                )
            ],
        )


class Verifier(exports.Verifier):
    """Verifies an earlier write, in a fresh instance that can only read."""

    def verify(self, receipt: writer.Receipt, level: verifier.Level) -> list[verifier.Finding]:
        directory = host(storage.open)
        findings = []
        files = [one for one in receipt.expectations if isinstance(one.place, writer.Place_File)]
        for file in files:
            finding = check(directory, file, level)
            if finding:
                findings.append(finding)
        if all(finding.subject != TABLE for finding in findings):
            # Check not only the size and the digest, but also that the table lists the layers of this image.
            content = read(directory, TABLE).decode(errors="replace")
            rows = list(csv.reader(io.StringIO(content), delimiter=receipt.state.decode()))
            layers = [file.place.value for file in files if isinstance(file.role, writer.Role_Layer)]
            if [row[1] for row in rows[1:] if len(row) > 1] != layers:
                message = "does not list the layers of this image in order"
                findings.append(difference(TABLE, verifier.Problem.UNREADABLE, None, None, message))
        return findings


def check(directory: storage.Directory, file: writer.Expectation, level: verifier.Level):
    """Returns the first difference of a file, or None."""
    path = file.place.value
    try:
        stat = directory.stat(path)
        if stat is None:
            return difference(path, verifier.Problem.MISSING, None, None, "is not there")
        if stat.kind != EntryKind.FILE:
            return difference(path, verifier.Problem.UNREADABLE, None, None, "is not a regular file")
        if stat.size != file.size:
            sides = f"{file.size} bytes", f"{stat.size} bytes"
            return difference(path, verifier.Problem.SIZE_MISMATCH, *sides, "has another size")
        if level == verifier.Level.FULL:
            found = directory.digest(path, 0, None)
            if found != file.digest:
                sides = file.digest, found
                return difference(path, verifier.Problem.DIGEST_MISMATCH, *sides, "has other content")
    except Err:
        return difference(path, verifier.Problem.UNREADABLE, None, None, "cannot be read")
    return None


def difference(subject, problem, expected, found, message) -> verifier.Finding:
    return verifier.Finding(subject, problem, expected, found, message)


def read(directory: storage.Directory, path: str) -> bytes:
    """Returns the content of a small file. A file that is larger than a table can be is cut, so it is
    reported as wrong."""
    content = b""
    while len(content) < LARGEST_TABLE:
        piece = host(directory.read, path, len(content), CALL)
        content += piece
        if len(piece) < CALL:
            break
    return content
