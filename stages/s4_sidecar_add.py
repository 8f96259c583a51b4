"""s4_sidecar_add: features of each clip by producers → columns of its sidecar, data/sidecar_init/ → data/sidecars/.

With arguments `soundraft s4`, on any folder, in place:

    python stages/s4_sidecar_add.py --audio-root TOKENS --cond-root SIDECARS --producer lin --lin position=0:1
    python stages/s4_sidecar_add.py --list-producers
"""

import argparse
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from soundraft import files, packs, stage
from soundraft.manifest import MANIFEST_NAME, QUARANTINE_NAME, check_bad_fraction
from soundraft.params import load_params
from soundraft.sidecar import features, producers
from soundraft.sidecar.producers import Producer
from soundraft.tracking import stage_run

TOKENS = Path("data/tokens")
SOURCE = Path("data/sidecar_init")
AUDIO = Path("data/normalized")
OUT = Path("data/sidecars")


def main() -> None:
    params = load_params()
    options = params.sidecar
    folder = Path(options.producers_dir)
    loaded = producers.load_all(options.producers, folder)
    args = features.parse_arguments(loaded, options.arguments)
    with stage_run("s4_sidecar_add", params.leaves()) as tracker, files.building(OUT) as out:
        for tokens in files.folders(TOKENS):
            with loose_for(loaded, tokens) as root:
                own: dict[str, Any] = {"audio_root": root, "wav_root": AUDIO / tokens.name}
                own |= {"manifest": AUDIO / tokens.name / MANIFEST_NAME}
                own |= {"audio_checkpoint": params.encodec.checkpoint, "audio_revision": params.encodec.revision}
                own = vars(args) | {key: value for key, value in own.items() if getattr(args, key, None) is None}
                done = features.add_features(features.FeaturePass(
                    root, SOURCE / tokens.name, out / tokens.name, tuple(options.producers), folder,
                    argparse.Namespace(**own), dtype=options.dtype, skip_errors=True, packed=True,
                ))  # fmt: skip
            files.write_jsonl(out / tokens.name / QUARANTINE_NAME, map(vars, done.rejected))
            check_bad_fraction(done.clips, done.rejected, params.limits.max_bad_fraction)
            tracker.metrics({f"{tokens.name}_clips": done.clips, f"{tokens.name}_rejected": len(done.rejected)})
            notes = producers.notes(options.producers, folder)
            print("\n".join(f"s4_sidecar_add: {tokens.name}: {line}" for line in notes + done.lines()))
    print(f"s4_sidecar_add: made {OUT}/; audit checks them")


def loose_for(loaded: Sequence[Producer], tokens: Path) -> AbstractContextManager[Path]:
    """The token files; unpacked where a producer is the user's, which may open them by any means."""
    shipped = all(producer.module is producers.SHIPPED.get(producer.name) for producer in loaded)
    return nullcontext(tokens) if shipped else packs.unpacked(tokens)


if __name__ == "__main__":
    stage.run_either(main, "s4", TOKENS, SOURCE, AUDIO)
