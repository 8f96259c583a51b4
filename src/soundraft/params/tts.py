"""The section `tts` of params.yaml: every key, its type, range and meaning."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from soundraft.params.base import Count, Positive, Section, Text
from soundraft.params.speech import SpeechParams


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
