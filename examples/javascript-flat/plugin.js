// An output plugin for occystrap, in JavaScript: a flat folder of blobs, each under its digest, and
// an index.json that says what they are. A layer that comes twice is one file.

import { Sink } from 'occystrap:output/blobs@0.1.0';
import { open as openStorage } from 'occystrap:output/storage@0.1.0';
import { createFile } from 'occystrap:output/storage-edit@0.1.0';

const INDEX = 'index.json';

// The most that one `write` or `read` may carry, in bytes.
const CALL = 64 * 1024;

// An image has at most 1,000 layers; one has some 300 bytes here.
const LARGEST_INDEX = 1024 * 1024;

// A call of the host. What it refuses ends the session; the user is told why by the host.
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

// One image on its way to one folder. Content does not pass through here: the host moves and hashes.
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

  // A blob under its own digest. The host says what that is before it is moved.
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

// Looks again, in a fresh instance that can only read.
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

// The first thing that is wrong with a file, if anything is.
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

// The index lists the layers of this image, in order.
function checkIndex(directory, files) {
  const wanted = files.filter((file) => file.role.tag === 'layer').map((file) => file.digest);
  let listed;
  try {
    const document = JSON.parse(new TextDecoder().decode(readAll(directory, INDEX)));
    listed = document.layers.map((layer) => layer.digest);
  } catch {
    return [finding(INDEX, 'unreadable', 'is no index of an image')];
  }
  const same = listed.length === wanted.length && listed.every((one, at) => one === wanted[at]);
  return same ? [] : [finding(INDEX, 'unreadable', 'does not list the layers of this image')];
}

function finding(subject, problem, message, expected, found) {
  return { subject, problem, expected, found, message };
}

// A small file. What is larger than an index can be is cut, and so found wrong.
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
