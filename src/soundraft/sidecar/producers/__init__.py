"""The producers that come with soundraft. paramproducers/README.md has the interface, for your own."""

from types import ModuleType

from soundraft.sidecar.producers import const, from_audio, from_filename, from_manifest, lin

SHIPPED: dict[str, ModuleType] = {
    "const": const,
    "lin": lin,
    "from_filename": from_filename,
    "from_audio": from_audio,
    "from_manifest": from_manifest,
}
