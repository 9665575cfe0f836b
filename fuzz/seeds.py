#!/usr/bin/env python3
"""Writes the seeds, which are the first inputs of the fuzzers: fuzz/seeds.py, in a clone of the repository.

The seeds are small files in seeds/TARGET/. The parser accepts those called good-*, and a test of the host
checks that it still does. Those called bad-* lead to errors that random inputs would not reach. GNU tar
writes the sparse files.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"
OCI = "application/vnd.oci.image"


def seed(target: str, name: str, content: bytes | str) -> None:
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def tar(members: list[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return trim_end(out.getvalue())


def trim_end(archive: bytes) -> bytes:
    """Returns a tar with only two blocks of zeros at its end, which are enough."""
    return archive.rstrip(b"\0").ljust((len(archive.rstrip(b"\0")) + 511) // 512 * 512, b"\0") + bytes(1024)


def tar_of_all_types(form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, kind, link in [
            ("etc", tarfile.DIRTYPE, ""),
            ("etc/motd", tarfile.REGTYPE, ""),
            ("etc/hard", tarfile.LNKTYPE, "etc/motd"),
            ("etc/soft", tarfile.SYMTYPE, "../../outside"),
            ("dev/null", tarfile.CHRTYPE, ""),
            ("run/pipe", tarfile.FIFOTYPE, ""),
            ("usr/.wh.lib", tarfile.REGTYPE, ""),
            ("d/" * 60 + "long", tarfile.REGTYPE, ""),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.mode, info.uid, info.gid, info.mtime = 0o4755, 1000, 100, 1_700_000_000
            info.devmajor, info.devminor = 1, 3
            if form == tarfile.PAX_FORMAT:
                info.pax_headers = {"SCHILY.xattr.user.note": "a\nb", "mtime": "1700000000.5"}
            content = b"hello\n" if name == "etc/motd" else b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return trim_end(out.getvalue())


def sparse(*form: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/holes", "wb") as file:
            for place in (100_000, 900_000):
                file.seek(place)
                file.write(b"x")
        command = ["tar", "-C", folder, "-c", "-S", "--mtime=@1", "--owner=0", "--group=0"]
        names = "--pax-option=exthdr.name=h,delete=atime,delete=ctime"
        pax = [names] if form[0] != "--format=gnu" else []
        return trim_end(subprocess.run([*command, *form, *pax, "holes"], check=True, capture_output=True).stdout)


def main() -> None:
    shutil.rmtree(SEEDS, ignore_errors=True)
    layer = tar([("etc/motd", b"hello\n")])
    config = dump({"architecture": "amd64", "os": "linux", "config": {},
                   "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
                   "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "x"}]})

    def blob(kind: str, content: bytes) -> dict:
        return {"mediaType": f"{OCI}.{kind}", "digest": digest(content), "size": len(content)}

    manifest = dump({"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
                     "config": blob("config.v1+json", config), "layers": [blob("layer.v1.tar", layer)]})
    entry = blob("manifest.v1+json", manifest) | {
        "platform": {"architecture": "amd64", "os": "linux"},
        "annotations": {"org.opencontainers.image.ref.name": "app:1"}}
    index = dump({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [entry]})
    listed = dump([{"Config": digest(config)[7:] + ".json", "RepoTags": ["app:1", "quay.io/a/b:2"],
                    "Layers": [digest(layer)[7:] + "/layer.tar"]}])

    seed("manifest", "good-manifest", manifest)
    seed("manifest", "good-index", index)
    seed("manifest", "good-config", config)
    seed("manifest", "good-list", listed)
    seed("manifest", "good-untyped", manifest.replace(b'"mediaType":"application/vnd.oci.image.manifest.v1+json",', b""))
    seed("manifest", "bad-both", manifest.replace(b'"layers"', b'"manifests":[],"layers"'))
    seed("manifest", "bad-twice", manifest.replace(b'"layers"', b'"layers":[],"layers"'))

    odd = dump({"rootfs": {"type": None, "diff_ids": [digest(layer)]}, "architecture": None, "history": None, "created": None,
                "config": {"Env": None, "Labels": {"a": None}, "Entrypoint": "sh", "Volumes": {"/a": None}}})
    seed("config", "good-config", config)
    seed("config", "good-odd", odd)
    seed("config", "good-scratch", b'{"rootfs":{}}')
    seed("config", "good-odd-time", config.replace(b"2024-01-01", b"yesterday"))
    seed("config", "bad-no-rootfs", b'{"architecture":"amd64","os":"linux"}')
    seed("document", "good-manifest", manifest)
    seed("document", "good-index", index)
    seed("document", "good-nulls", dump({
        "schemaVersion": 2, "config": blob("config.v1+json", config) | {"platform": {}, "urls": None, "annotations": None},
        "layers": None, "subject": None, "annotations": {"a": None}}))
    seed("document", "good-silent", dump({"schemaVersion": 2, "manifests": [
        blob("manifest.v1+json", manifest) | {"platform": platform} for platform in (None, {}, {"os": "", "variant": None})]}))
    seed("document", "good-no-list", dump({"schemaVersion": 2, "manifests": None}))
    seed("document", "bad-size", manifest.replace(b'"size":', b'"size":"x",'))

    seed("archive", "good-docker-save", tar([
        (digest(config)[7:] + ".json", config), (digest(layer)[7:] + "/layer.tar", layer),
        ("manifest.json", listed)]))
    seed("archive", "good-oci-layout", tar([
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index)]
        + [("blobs/sha256/" + digest(one)[7:], one) for one in (manifest, config, layer)]))
    seed("archive", "bad-leads-out", tar([("manifest.json", listed.replace(b'"Layers":["', b'"Layers":["../'))]))
    seed("archive", "bad-no-image", tar_of_all_types(tarfile.GNU_FORMAT))

    for name, form in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
        seed("layer", f"good-{name}", tar_of_all_types(form))
    seed("layer", "good-sparse-gnu", sparse("--format=gnu"))
    for version in ("0.0", "0.1", "1.0"):
        seed("layer", f"good-sparse-{version}", sparse("--format=posix", f"--sparse-version={version}"))
    seed("layer", "bad-cut", tar_of_all_types(tarfile.PAX_FORMAT)[:2000])

    for name, text in {
        "good-registry": "registry://user:secret@host:5000/a/b:1?arch=arm64&variant=v8",
        "good-digest": "registry://host/image@" + digest(b""),
        "good-tar": "file://localhost/x%20y.tar?image=a:1",
        "good-short": "tar:foo.tar",
        "good-docker": "docker://quay.io/a/b:1?socket=/run/docker.sock",
        "good-name": "quay.io/a/b:1",
        "bad-login": "docker://user:secret@host/a/b",
        "bad-option": "tar:///x?a=1&a=2",
    }.items():
        seed("uri", name, text)

    for name, text in {
        "good-exclude": "exclude:pattern=**/*.py[co],pattern='a,b'\nusr/lib/x.pyc",
        "good-braces": "exclude:pattern={a,b}?[!x-z]\nac1",
        "good-timestamps": "normalize_timestamps:ts=0",
        "good-search": "search:pattern=.*motd,regex=true",
        "bad-quote": "exclude:pattern='a",
        "bad-class": "exclude:pattern=[z-a]",
    }.items():
        seed("filter", name, text)

    plugin = {"name": "dir", "version": "0.5.0", "sha256": digest(b"p"), "wit": "0.1.0"}
    digest_of = digest(layer)
    expectations = [
        {"role": role, "place": place, "size": size, "digest": found}
        for role, place, size, found in [
            ("config", {"file": {"path": "config"}}, 9, digest(b"c")),
            ({"layer": 0}, {"part": {"path": "x.tar", "member": "l", "offset": 512}}, len(layer), digest_of),
            ("catalog", {"entry": {"path": "catalog.json", "steps": ["a", {"keys": ["b"], "value": "c"}],
                                   "value": "d"}}, None, None),
            ("manifest", {"manifest": {"reference": "latest"}}, 5, None),
            ("image", {"image-layer": {"image": "app:1", "index": 0}}, None, digest_of),
            ("image", {"blob": {"digest": digest_of}}, 5, digest_of),
        ]
    ]
    receipt = {"occystrap_receipt": 1, "plugin": plugin, "source": "tar://x.tar", "destination": "dir:///out",
               "image": {"name": "app", "tag": "1", "id": digest(config), "part": {"platform": "linux/amd64"}},
               "filters": ["exclude:pattern=a"], "expectations": expectations,
               "journal": [{"path": "config", "size": 9,
                            "extents": [{"offset": 0, "size": 9, "digest": digest(b"c")}]}],
               "state": "00ff"}
    bundle = {"occystrap_receipts": 1, "receipts": [receipt | {"expectations": [], "state": ""}] * 2}
    seed("receipt", "good-receipt", dump(receipt))
    seed("receipt", "good-bundle", dump(bundle))
    seed("receipt", "bad-version", dump(receipt | {"occystrap_receipt": 2}))
    inner = dump(bundle)
    at = inner.rindex(b'"occystrap_receipt":1')
    seed("receipt", "bad-inner-version", inner[:at] + inner[at:].replace(b":1", b":2", 1))
    seed("receipt", "bad-places", dump(bundle).replace(b"dir:///out", b"dir:///in", 1))

    plugins = f"""version = 1

[[plugin]]
name = "inventory"
version = "1.0"
summary = "says \\"so\\" \\u001b"
schemes = ["inventory", "inv"]
sha256 = "{digest(b"p")}"
source = "/a b/c'd.wasm"
imports = ["occystrap:output/blobs@0.1.0"]
granted = ["blobs"]
"""
    seed("plugins_toml", "good-one", plugins)
    seed("plugins_toml", "good-none", "version = 1\n")
    seed("plugins_toml", "bad-built-in", plugins.replace('"inv"', '"tar"'))
    seed("plugins_toml", "bad-name", plugins.replace('name = "inventory"', 'name = "../x"'))

    auth = "bWU6cHc="
    seed("auth_file", "good-docker", dump({"auths": {"https://index.docker.io/v1/": {"auth": auth}, "quay.io": {}},
                                           "credHelpers": {"localhost:5000": "x"}, "credsStore": "desktop"}))
    seed("auth_file", "good-podman", dump({"auths": {"quay.io/team/app": {"auth": auth}, "quay.io": {"identitytoken": "t"},
                                                     "docker.io": {"username": "me", "password": "pw"}, "x": None}}))
    seed("auth_file", "good-legacy", dump({"https://quay.io/v1/": {"auth": auth + "\n", "email": "x"}}))
    seed("auth_file", "good-helper", dump({"ServerURL": "quay.io", "Username": "<token>", "Secret": "t"}))
    seed("auth_file", "bad-list", b"[]")
    bearer = 'Bearer realm="https://me:pw@auth.example/token",service="r",scope="repository:a/b:pull"'
    seed("challenge", "good-bearer", bearer)
    seed("challenge", "good-both", f'Negotiate, Basic realm="a \\"b\\"", {bearer}')
    seed("challenge", "bad-negotiate", "Negotiate YII+/a==")
    seed("no_proxy", "good-names", "http://me:pw@p.example:3128/\n.example,b.r:5000,*.c\nhttps://r.other:5000/v2/")
    seed("no_proxy", "good-addresses", "p:1\n10.0.0.0/8,[fd00::1]:80,192.0.2.1:5000,fd00::/8\nhttp://[2001:db8::1]/")
    seed("no_proxy", "bad-all", "http://p:1\na, *\nhttp://r.example/")

    entries = dump([{"key": {"layer": digest_of, "filters": ["exclude:pattern=a (tar 1)"], "compression": "gzip 1", "output": "dir"},
                     "known": {"diff_id": digest_of, "blob": digest(b"b"), "size": 7,
                               "media_type": f"{OCI}.layer.v1.tar+gzip", "at": {"path": "a/layer.tar", "offset": 0},
                               "used": 1_700_000_000}}])
    whole = b'{"occystrap_layer_cache":2,"sha256":"%b","entries":%b}' % (digest(entries).encode(), entries)
    seed("layer_cache", "good-entries", entries)
    seed("layer_cache", "good-whole", whole)
    seed("layer_cache", "bad-digest", whole.replace(b'"size":7', b'"size":8'))

    mirror = """version: 1
hosts: {docker.io: {requests-per-second: 5, connections: 4, pulls-left: 20}}
defaults: &all {platforms: all, referrers: true, verify: fast}
images:
- from: docker.io/library/busybox
  to: mirror.example.com/hub/busybox
  tags: {semver: '>=1.36 <2 || ^3', latest: 5, also: [latest, 1.10]}
  immutable: ['[0-9]*']
- from: quay.io/prometheus/{prometheus,alertmanager}
  to: mirror.example.com/quay/{repository}
  tags: {regex: 'v[0-9.]+', not: '.*-rc.*', newer-than: 90d}
  platforms: [linux/amd64, linux/arm64]
  index: rewrite
  filters: [normalize-timestamps]
- {list: images.txt, to: 'oci-layout:///srv/{registry}/{repository}', on-conflict: keep}
- {from: 'a:1', to: 'dir:///srv?unique_names=true'}
prune: {extra: report}
"""
    export = {"occystrap_export": 1, "mirror": "mirror.yaml", "file": digest_of, "run": 2,
              "since": {"run": 1, "export": digest_of},
              "items": [{"source": "quay.io/a/b:1", "repository": "a/b", "tag": "1", "digest": digest_of,
                         "verdict": "verified", "verify": "fast", "on_conflict": "replace"}],
              "as_before": [{"repository": "a/c", "target": "1", "digest": digest_of}], "failed": []}
    receipt_of = {"repository": "a/b", "tag": None, "digest": digest_of,
                  "objects": [{"role": "manifest", "digest": digest_of, "size": 7, "media_type": "m"},
                              {"role": "layer", "digest": digest_of, "size": 9, "carried_to": "a/b"}],
                  "referrers": [{"subject": digest_of, "digest": digest_of, "kind": "k", "found_by": "cosign-tag"}]}
    seed("export", "good-document", json.dumps(export))
    seed("export", "good-receipt", json.dumps(receipt_of))
    seed("export", "good-list", f"{digest_of[7:]}  blobs/sha256/{digest_of[7:]}\n{digest_of[7:]}  index.json\n")
    seed("export", "bad-version", json.dumps(export | {"occystrap_export": 2}))
    seed("export", "bad-path", f"{digest_of[7:]}  ../index.json\n")
    seed("mirror_file", "good-file", mirror)
    seed("mirror_file", "good-list", f"# ours\nbusybox:1\nquay.io/a/b@{digest_of}\n")
    seed("mirror_file", "good-regsync", "x-a: &a {type: repository, tags: {allow: ['v.*'], semverRange: ['>=1']}}\n"
         "creds: [{registry: 'r:5000', tls: disabled, reqPerSec: 5}]\ndefaults: {ratelimit: {min: 9}}\n"
         "sync:\n- {<<: *a, source: alpine, target: 'r:5000/{{ .Sync.Source }}'}\n"
         "- {source: 'b:1', target: 'ocidir://x:1', type: image, platform: linux/arm64}\n")
    seed("mirror_file", "good-skopeo", "docker.io:\n  images: {nginx: [], redis: ['7']}\n"
         "  images-by-tag-regex: {httpd: '^2'}\n  images-by-semver: {alpine: '3.12 - 3.13'}\n  tls-verify: false\n")
    seed("mirror_file", "bad-keys", mirror.replace("images:", "image:"))
    seed("mirror_file", "bad-alias", "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 14)))


if __name__ == "__main__":
    main()
