// An output plugin for occystrap, in JavaScript. It writes a flat folder of blobs, each under its digest,
// and an index.json that lists them. A layer that occurs twice is written once.

import { Sink } from 'occystrap:output/blobs@0.1.0';
import { open as openStorage } from 'occystrap:output/storage@0.1.0';
import { createFile } from 'occystrap:output/storage-edit@0.1.0';

const INDEX = 'index.json';

// The largest number of bytes per call of `write` or `read`.
const CALL = 64 * 1024;

// The largest index that is read, in bytes. An image has at most 1,000 layers, and each needs about 300
// bytes.
const LARGEST_INDEX = 1024 * 1024;

// Calls the host. If the call fails, the session ends, and the host reports the cause to the user.
function host(call) {
  try {
    return call();
  } catch (refused) {
    throw refused.payload === undefined ? refused : { tag: 'host', val: refused.payload };
  }
}

function hex(digest) {
  return digest.slice('sha256:'.length);
}

// The write of one image to one folder. Content does not pass through the plugin: the host moves and
// hashes it.
class Session {
  constructor(directory, name, form) {
    this.directory = directory;
    this.name = name;
    this.form = form;
    this.mediaTypes = [];
    this.expectations = [];
    this.layers = [];
    this.known = new Map();
  }

  static open(request) {
    const form = new Map(request.options).get('layers');
    if (!['stored', 'uncompressed', 'gzip', 'zstd'].includes(form)) {
      throw { tag: 'invalid-option', val: 'layers' };
    }
    return new Session(host(() => openStorage()), request.name, form);
  }

  plan(layers) {
    return layers.map(() => ({ tag: 'take', val: this.form }));
  }

  writeConfig(config) {
    this.config = this.store({ tag: 'config' }, config);
  }

  writeLayer(index, diffId, layer) {
    this.layers.push({ ...this.store({ tag: 'layer', val: index }, layer), diffId });
  }

  static finalize(session) {
    const { name, config, layers } = session;
    const document = { name: name.repository, tag: name.tag ?? null, config, layers };
    const content = new TextEncoder().encode(JSON.stringify(document, null, 2) + '\n');
    const sink = host(() => createFile(session.directory, INDEX));
    for (let start = 0; start < content.length; start += CALL) {
      host(() => sink.write(content.subarray(start, start + CALL)));
    }
    session.expect({ tag: 'manifest' }, INDEX, host(() => Sink.finish(sink)));
    return { expectations: session.expectations, state: new Uint8Array() };
  }

  // Writes a blob under its digest. The host returns the digest before the blob is moved.
  store(role, blob) {
    const { digest, size, mediaType } = host(() => blob.descriptor());
    const path = hex(digest);
    if (!this.known.has(path)) {
      const sink = host(() => createFile(this.directory, path));
      host(() => sink.splice(blob));
      this.known.set(path, host(() => Sink.finish(sink)));
    }
    this.expect(role, path, this.known.get(path));
    return { digest, size: Number(size), mediaType };
  }

  expect(role, path, written) {
    const place = { tag: 'file', val: path };
    this.expectations.push({ role, place, size: written.size, digest: written.digest });
  }
}

export const writer = {
  Session,
  describe() {
    return {
      name: 'flat',
      version: '0.1.0',
      summary: 'a flat folder of blobs under their digests, and index.json',
      schemes: ['flat'],
      destination: 'directory',
      manifests: 'custom',
      options: [
        {
          name: 'layers',
          kind: 'text',
          default: 'stored',
          summary: 'how layers are stored: stored (as the source has them), uncompressed, gzip, zstd',
        },
      ],
    };
  },
};

// Verifies an earlier write, in a fresh instance that can only read.
export const verifier = {
  verify(receipt, level) {
    const directory = host(() => openStorage());
    const files = receipt.expectations.filter((one) => one.place.tag === 'file');
    const findings = files.map((file) => check(directory, file, level)).filter(Boolean);
    if (findings.every((finding) => finding.subject !== INDEX)) {
      findings.push(...checkIndex(directory, files));
    }
    return findings;
  },
};

// Returns the first difference of a file, if there is one.
function check(directory, file, level) {
  const path = file.place.val;
  try {
    const stat = directory.stat(path);
    if (stat === undefined) {
      return finding(path, 'missing', 'is not there');
    }
    if (stat.kind !== 'file') {
      return finding(path, 'unreadable', 'is not a regular file');
    }
    if (stat.size !== file.size) {
      const sides = [`${file.size} bytes`, `${stat.size} bytes`];
      return finding(path, 'size-mismatch', 'has another size', ...sides);
    }
    const digest = level === 'full' ? directory.digest(path, 0n, undefined) : file.digest;
    if (digest !== file.digest) {
      return finding(path, 'digest-mismatch', 'has other content', file.digest, digest);
    }
  } catch {
    return finding(path, 'unreadable', 'cannot be read');
  }
}

// Checks that the index lists the layers of this image, in order.
function checkIndex(directory, files) {
  const wanted = files.filter((file) => file.role.tag === 'layer').map((file) => file.digest);
  let listed;
  try {
    const document = JSON.parse(new TextDecoder().decode(readAll(directory, INDEX)));
    listed = document.layers.map((layer) => layer.digest);
  } catch {
    return [finding(INDEX, 'unreadable', 'is not an index of an image')];
  }
  const same = listed.length === wanted.length && listed.every((one, at) => one === wanted[at]);
  return same ? [] : [finding(INDEX, 'unreadable', 'does not list the layers of this image')];
}

function finding(subject, problem, message, expected, found) {
  return { subject, problem, expected, found, message };
}

// Returns the content of a small file. A file that is larger than an index can be is cut, so it is
// reported as wrong.
function readAll(directory, path) {
  const pieces = [];
  let length = 0;
  while (length < LARGEST_INDEX) {
    const piece = directory.read(path, BigInt(length), CALL);
    pieces.push(piece);
    length += piece.length;
    if (piece.length < CALL) {
      break;
    }
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
