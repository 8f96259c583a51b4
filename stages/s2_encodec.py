"""s2_encodec: normalised audio → EnCodec tokens, 75 frames a second, and tokens.jsonl with the frames of each file.

data/normalized/{start,target} → data/tokens, as in params.yaml; with arguments `soundraft s2`, on any two folders:

    python stages/s2_encodec.py IN OUT --bandwidth 6.0
"""

from pathlib import Path

from soundraft import files, packs, runtime, stage
from soundraft.audio import ecdc, tokenize
from soundraft.audio.tokenize import Encoder
from soundraft.manifest import MANIFEST_NAME, read_manifest
from soundraft.params import load_params
from soundraft.tracking import stage_run

SOURCE = Path("data/normalized")
OUT = Path("data/tokens")


def main() -> None:
    params = load_params()
    with stage_run("s2_encodec", params.leaves()) as tracker:
        sources = files.folders(SOURCE)
        files.remove_other_folders(OUT, [source.name for source in sources])
        for source in sources:
            encoder = Encoder(source, OUT / source.name, params.encodec, device=str(runtime.device()))
            clips = read_manifest(source / MANIFEST_NAME)
            limit = params.limits.max_bad_fraction
            done = tokenize.encode_clips(clips, encoder, max_bad_fraction=limit, owned=True)
            packs.pack(encoder.target, [ecdc.SUFFIX], keep=[row.path for row in ecdc.read_index(encoder.target)])
            tracker.metrics({f"{source.name}_{key}": value for key, value in vars(done).items()})
            print(f"s2_encodec: {source.name}: {done}")


if __name__ == "__main__":
    stage.run_either(main, "s2", SOURCE)
