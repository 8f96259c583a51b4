"""Of the verifier of spoken texts: how clear, clean and like the voice asked for speech has to be."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from soundraft.params.base import LeastMost, NotNegative, Positive, Section, Share


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
