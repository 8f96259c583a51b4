"""The verifier of spoken texts together with its models: a recogniser and, where it is installed, a voice encoder."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import runtime
from soundraft.audio import codec, io
from soundraft.audio.ecdc import SAMPLE_RATE_HZ
from soundraft.models.base import Recognizer
from soundraft.models.listening import hear, open_recognizer
from soundraft.models.voices import VoiceEncoder, similarities
from soundraft.params.tts import SpeechParams
from soundraft.rewards.base import Evidence, VerifyResult
from soundraft.rewards.speech import SpeechReward, Spoken
from soundraft.runtime import UserError

TINY = "checkpoints/encodec_tiny"
BANDWIDTH_KBPS = 6.0


class Audition:
    """Scores audio of any source against its text, one clip or many at once. Models are opened when first needed.

    Args:
        recognizer: a name of `models.listening.SHIPPED`, a folder or a hub id.
        codec: folder of the codec that the speech came through, for which `tiny` stands: the reference goes through it
            as well, so that its voice is compared and not the codec's sound; empty: not.
    """

    def __init__(
        self, options: SpeechParams, *, recognizer: str | Path = "recognizer", codec: str | Path = "tiny",
        language: str = "",
    ) -> None:  # fmt: skip
        self.reward = SpeechReward(options, language=language)
        self.name, self.codec = recognizer, codec

    @cached_property
    def recognizer(self) -> Recognizer:
        return open_recognizer(self.name)

    @cached_property
    def _voices(self) -> VoiceEncoder:
        return VoiceEncoder()

    @cached_property
    def _coder(self) -> codec.Codec:
        return codec.load(runtime.shipped(TINY) if self.codec == "tiny" else Path(self.codec))

    def verify(
        self, *, audio: Any, text: str, reference_audio: Any = None, sample_rate_hz: int | None = None
    ) -> VerifyResult:
        """The result of one clip; its parts are those of `rewards.speech.SpeechReward`.

        Args:
            audio: a file, or samples in −1…1 of `sample_rate_hz`.
            reference_audio: a recording of the voice asked for, in the same form; 2 s or more.

        Raises:
            UserError: when the text is no string, or samples come without their rate.
            BadClip: when a file cannot be read.
        """
        references = None if reference_audio is None else [reference_audio]
        return self.verify_batch([audio], [text], references, sample_rate_hz=sample_rate_hz)[0]

    def verify_batch(
        self,
        audio: Sequence[Any],
        texts: Sequence[str],
        references: Sequence[Any] | None = None,
        *,
        sample_rate_hz: int | None = None,
    ) -> list[VerifyResult]:
        """A result for each clip, in their order; raises as `verify`."""
        for text in texts:
            if not isinstance(text, str):
                raise UserError(f"text: got {text!r}; give the words that should be spoken")
        waves = [_mono(each, sample_rate_hz, "audio") for each in audio]
        others = [None] * len(waves) if references is None else [
            None if each is None else _mono(each, sample_rate_hz, "reference_audio") for each in references
        ]  # fmt: skip
        normalized = [self.reward.normalize(text) for text in texts]
        rates = {rate_hz for _, rate_hz in waves}
        common_hz = rates.pop() if len(rates) == 1 else SAMPLE_RATE_HZ
        same = [io.resample(samples, rate_hz, common_hz) for samples, rate_hz in waves]
        heard = hear(self.recognizer, same, common_hz, normalized)
        results = []
        for wave, other, each, text in zip(waves, others, heard, texts, strict=True):
            spoken = Spoken(wave[0], wave[1], each, *self._similarity(wave, other))
            results += self.reward.verify_samples([spoken], Evidence(text))
        return results

    def _similarity(
        self, wave: tuple[np.ndarray, int], other: tuple[np.ndarray, int] | None
    ) -> tuple[float | None, str]:
        """How similar the voices are, or why that is not known."""
        if other is None or not self.reward.options.weights.consistency:
            return None, "no reference"
        try:
            voices = [self._voices.embed(*each) for each in (wave, self._through_codec(*other))]
        except UserError as error:
            return None, str(error)
        return float(similarities(voices[:1], voices[1:])[0, 0]), ""

    def _through_codec(self, samples: np.ndarray, rate_hz: int) -> tuple[np.ndarray, int]:
        if not self.codec:
            return samples, rate_hz
        wave = io.resample(samples, rate_hz, SAMPLE_RATE_HZ)
        return self._coder.decode(self._coder.encode(wave, BANDWIDTH_KBPS))[: len(wave)], SAMPLE_RATE_HZ


def _mono(given: Any, rate_hz: int | None, name: str) -> tuple[np.ndarray, int]:
    """Samples `[N]` and their rate of a file or an array."""
    if isinstance(given, str | Path):
        samples, found_hz = io.read(Path(given))
        return io.to_mono(samples), found_hz
    if rate_hz is None:
        raise UserError(f"{name}: samples come without their rate; give sample_rate_hz, or a file")
    io.check_rate("sample_rate_hz", rate_hz)
    return io.to_mono(io.from_array(given)), rate_hz
