"""From a token file back to the audio it was made from."""

from pathlib import Path

from soundraft.audio import token_index


class WavNames:
    """The wav of each token file, relative to the audio folder: from the token index, else by name."""

    def __init__(self, tokens_root: Path) -> None:
        self.root = tokens_root
        self.known = {row.path: row.wav for row in token_index.read_index(tokens_root)}

    def __call__(self, ecdc_path: Path) -> str:
        relative = Path(ecdc_path).relative_to(self.root).as_posix()
        return self.known.get(relative) or token_index.wav_of(relative)
