"""Writing one image. Content does not pass through the plugin: the host moves and hashes it."""

import csv
import io

from componentize_py_types import Err
from wit_world.exports import writer
from wit_world.imports import storage, storage_edit
from wit_world.imports.blobs import Blob, Sink

from layout import CALL, CONFIG, TABLE, host


class Session(writer.Session):
    """The write of one image to one folder."""

    def __init__(self, directory: storage.Directory, delimiter: str):
        self.directory = directory
        self.delimiter = delimiter
        self.layers: list[writer.LayerSummary] = []
        self.rows: list[list[str]] = []
        self.expectations: list[writer.Expectation] = []

    @classmethod
    def open(cls, request: writer.Request) -> "Session":
        delimiter = dict(request.options)["delimiter"]
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in "\r\n\"":
            raise Err(writer.Error_InvalidOption("delimiter"))
        return cls(host(storage.open), delimiter)

    def plan(self, layers: list[writer.LayerSummary]) -> list[writer.Decision]:
        self.layers = layers
        return [writer.Decision_Take(writer.Form.STORED) for _ in layers]

    def write_config(self, config: Blob) -> None:
        self.write(writer.Role_Config(), CONFIG, config)

    def write_layer(self, index: int, diff_id: str, layer: Blob) -> None:
        path = f"layers/{index + 1:03}"
        written = self.write(writer.Role_Layer(index), path, layer)
        media_type = self.layers[index].media_type
        self.rows.append([str(index + 1), path, str(written.size), written.digest, diff_id, media_type])

    @classmethod
    def finalize(cls, this: "Session") -> writer.Receipt:
        text = io.StringIO()
        table = csv.writer(text, delimiter=this.delimiter, lineterminator="\n")
        table.writerow(["layer", "file", "bytes", "digest", "diff-id", "media-type"])
        table.writerows(this.rows)
        content = text.getvalue().encode()
        sink = host(storage_edit.create_file, this.directory, TABLE)
        for start in range(0, len(content), CALL):
            host(sink.write, content[start : start + CALL])
        this.expect(writer.Role_Manifest(), TABLE, sink)
        # `verify` gets no options, so the state of the receipt contains the separator.
        return writer.Receipt(this.expectations, this.delimiter.encode())

    def write(self, role: writer.Role, path: str, blob: Blob):
        sink = host(storage_edit.create_file, self.directory, path)
        host(sink.splice, blob)
        return self.expect(role, path, sink)

    def expect(self, role: writer.Role, path: str, sink: Sink):
        written = host(Sink.finish, sink)
        place = writer.Place_File(path)
        self.expectations.append(writer.Expectation(role, place, written.size, written.digest))
        return written
