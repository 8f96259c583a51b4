"""The section `tts` of params.yaml, with the reward of speech: every key, its type, range and meaning."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from soundraft.params.base import Count, LeastMost, NotNegative, Positive, Section, Share, Text


class SpeechWeights(Section):
    intelligibility: Positive = Field(description="What a recogniser understands of the text.")
    quality: NotNegative = Field(description="Noise, clipping, crest factor and level.")
    consistency: NotNegative = Field(
        description="Similarity to the voice of the reference. Needs the package resemblyzer, and 2 s on either side; "
        "where there is no reference the part is left out."
    )


class SpeechParams(Section):
    combine: Literal["product", "sum"] = Field(
        description="How the parts make one reward: product (each part takes away the more the lower it is: speech "
        "that says something else is worth nothing), sum (the weighted mean, which pays .45 for clean nonsense)."
    )
    weights: SpeechWeights = Field(
        description="Weights of the parts. For product a part with weight w keeps at least 1 − w / (w + "
        "intelligibility) of the reward."
    )
    normalizer: Literal["none", "basic", "whisper-english", "whisper-multilingual", "spoken-digits"] = Field(
        description="Text normalisation before text and transcript are compared: none (spaces only), basic (lower "
        "case, no punctuation), whisper-english, whisper-multilingual, spoken-digits (numbers digit by digit)."
    )
    likelihood_share: Share = Field(
        description="Share of intelligibility that is the likelihood of the text per token, exp(log p / tokens); the "
        "rest is 1 − error rate."
    )
    cer_weight: Share = Field(description="Weight of the character error rate in the error rate; the rest is WER.")
    wer_threshold: Share = Field(description="Speech with at most this WER is solved (success rate).")
    snr_weight: NotNegative = Field(description="Weight of the signal-to-noise ratio in quality.")
    clipping_weight: NotNegative = Field(description="Weight of clipping in quality.")
    crest_weight: NotNegative = Field(description="Weight of the crest factor in quality.")
    snr_db: LeastMost = Field(
        description="Quality's range of the 95 % quantile of the levels of 20 ms frames over their 5 % quantile, dB: "
        "[worth 0, worth 1]."
    )
    clipped_share: Annotated[float, Field(gt=0, le=1)] = Field(
        description="So many of the pairs of neighbouring samples lie at the peak where clipping is worth 0."
    )
    crest_db: LeastMost = Field(
        description="Usual peak over root mean square, dB: [least, most]. Twelve beyond is worth 0."
    )
    silence_db: Annotated[float, Field(le=0)] = Field(
        description="Below this root mean square, dBFS, speech is silent: quality and reward are 0."
    )
    similarity: LeastMost = Field(
        description="Consistency's range of the similarity to the reference's voice: [worth 0, worth 1]."
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> "SpeechParams":
        for name in ("snr_db", "crest_db", "similarity"):
            least, most = getattr(self, name)
            if least >= most:
                raise ValueError(f"{name}: got [{least:g}, {most:g}]; the first must be smaller")
        if not self.snr_weight + self.clipping_weight + self.crest_weight:
            raise ValueError("snr_weight, clipping_weight, crest_weight: one of them must be above 0")
        return self


class Tts(Section):
    units: Literal["phones", "letters"] = Field(
        description="What speech is made of: phones (espeak's, for its own corpus, which has their times), letters "
        "(for all other recordings; tts.recognizer finds their times)."
    )
    codebooks: Annotated[int, Field(ge=1, le=32)] = Field(
        description="Codebooks of the codec that are learned, the first ones; no more than encodec.bandwidth_kbps has."
    )
    hidden_size: Annotated[int, Field(ge=8)] = Field(description="Width of the network; a multiple of attention_heads.")
    layers: Count = Field(description="Layers of the network.")
    attention_heads: Count = Field(description="Attention heads per layer.")
    temperature: Positive = Field(description="Sampling temperature when it speaks; train.temperature is for cycles.")
    best_of: Annotated[int, Field(ge=2)] = Field(
        description="Utterances of a text of which the baseline “best of several” takes the one with the best reward."
    )
    texts: str = Field(
        description="File of texts without recordings, .txt (one a line) or .jsonl (rows with text, and voice where it "
        "matters; else it is drawn), which cycles say and learn beside the texts of corpus.target. DVC does not watch "
        "it. Empty: none."
    )
    texts_per_cycle: Count = Field(description="At most so many of them in a cycle, drawn anew for each.")
    recognizer: Text = Field(
        description="The recogniser that the reward hears with, and that the headline is measured by: a folder or a "
        "hub id; recognizer: the one of this repository."
    )
    judge: str = Field(
        description="A second recogniser, by which no model is trained or chosen; evaluate alone reads it: a "
        "folder or a hub id; judge: the one of this repository. Empty: none."
    )
    reward: SpeechParams = Field(description="The reward of speech.")

    @field_validator("texts")
    @classmethod
    def _texts_have_a_suffix(cls, value: str) -> str:
        if value and not value.lower().endswith((".txt", ".jsonl")):
            raise ValueError(f"got {value!r}; the file of texts is a .txt or a .jsonl file")
        return value

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "Tts":
        width = self.hidden_size // self.attention_heads
        if self.hidden_size % self.attention_heads or width % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no even multiple of attention_heads {self.attention_heads}"
            )
        return self
