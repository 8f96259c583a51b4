"""params.yaml: every key, its type, range and meaning."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from soundraft.params.base import (
    BelowOne,
    Count,
    LeastMost,
    Natural,
    NotNegative,
    Pair,
    Percent,
    Positive,
    Revision,
    Section,
    Share,
    Text,
)
from soundraft.params.classification import Classification
from soundraft.params.enhancement import Enhancement
from soundraft.params.tasks import TASKS, known_task
from soundraft.params.tts import Tts

CorpusName = Literal[
    "espeak", "fsdd", "ljspeech", "librispeech", "common_voice", "fleurs", "voxceleb", "audioset", "speech_commands",
    "esc50", "urbansound8k", "emodb", "minds14", "speech_massive", "folder", "jsonl", "hub", "python",
]  # fmt: skip
Role = Literal["start", "target"]  # of the two corpora
BANDWIDTHS_KBPS = (1.5, 3.0, 6.0, 12.0, 24.0)
# of a run without the pipeline; the rate of params.yaml is for a network that began from nothing
ALONE: dict[str, Any] = {
    "train.cycles": 6,
    "train.learning_rate": 5e-5,
    "model.checkpoint": "openai/whisper-small",
    "model.revision": "",
    "train.epochs": 0,
}
# where such a run starts from a model that writes token by token, and the user gives no numbers
GENERATING = {"train.samples_per_prompt": 8, "train.rounds_per_cycle": 1}
Materialize = Literal["copy", "link", "none", "embed"]
FindingCode = Literal[
    "bad_ecdc", "missing_sidecar", "bad_sidecar", "bad_shape", "frame_mismatch", "dtype_mismatch", "fps_mismatch",
    "duplicate_names", "names_length_mismatch", "missing_features", "missing_names", "unlike_others",
    "norm_invalid", "norm_length_mismatch", "norm_inverted", "range_below_min", "range_above_max",
    "range_unverifiable", "auditor_error",
]  # fmt: skip


def _check_ascending(section: Section, *names: str) -> None:
    for name in names:
        low, high = getattr(section, name)
        if low > high:
            raise ValueError(f"{name}: [least, most] is the wrong way round: {low} > {high}")


class SplitSizes(Section):
    train: Count | None = Field(description="Training clips.")
    validation: Count | None = Field(description="Validation clips.")
    test: Count | None = Field(description="Test clips.")


class CorpusChoice(Section):
    name: CorpusName = Field(
        description="Which corpus; `soundraft datasets list` describes them. Your own: folder, jsonl, hub, python."
    )
    path: str = Field(
        description="Folder, file or archive of the recordings; for hub a hub id, for python module:Class. For a "
        "corpus of the hub optional: a local copy of its repository."
    )
    split: str = Field(
        description="One split of the source by its own name, such as train.clean.100, in place of the usual ones."
    )
    limit: Natural = Field(description="At most so many clips per split, in place of `clips`; 0: no limit.")
    revision: str = Field(description="Commit, tag or branch of a hub repository; empty: the latest (see source.json).")
    config: str = Field(
        description="Subset of the corpus: clean or other of librispeech, esc10 of esc50, words, digits or voices of "
        "espeak, digits or speakers of fsdd, the configuration of a hub dataset."
    )
    language: str = Field(description="Language code, for corpora in several: de of common_voice, en_us of fleurs.")
    columns: list[Pair] = Field(
        description="Columns that your table names differently, as ours=theirs: [text=sentence, speaker=client_id]."
    )
    labels: list[str] = Field(description="Labels that may occur; clips with other labels are rejected. Empty: all.")
    fold: Count = Field(
        description="Official fold (esc50, urbansound8k) or speaker (emodb) for testing; the next one validates."
    )
    clips: SplitSizes = Field(description="Clips per split; null: all. espeak and fsdd (but its digits) need numbers.")


class VoiceCounts(Section):
    start: Annotated[int, Field(ge=1, le=98)] = Field(description="Voices of the start corpus.")
    target: Annotated[int, Field(ge=1, le=84)] = Field(description="Voices of the target corpus.")


class SpeechStyle(Section):
    rate_wpm: list[Annotated[int, Field(ge=80, le=450)]] = Field(
        min_length=2, max_length=2, description="Speaking rate, words per minute: [least, most], 80 to 450."
    )
    pitch: list[Annotated[int, Field(ge=0, le=99)]] = Field(
        min_length=2, max_length=2, description="Pitch, in espeak's scale: [least, most], 0 to 99."
    )
    noisy_share: Share = Field(description="Share of clips with added noise.")
    snr_db: LeastMost = Field(description="Signal-to-noise ratio of those clips, dB: [least, most].")

    @model_validator(mode="after")
    def _ascending(self) -> "SpeechStyle":
        _check_ascending(self, "rate_wpm", "pitch", "snr_db")
        return self


class Espeak(Section):
    voices: VoiceCounts = Field(description="Number of different voices.")
    start: SpeechStyle = Field(description="Style of the start corpus.")
    target: SpeechStyle = Field(description="Style of the target corpus: faster, higher and noisier.")


class Fsdd(Section):
    test_takes: Count = Field(description="Number of takes, from the first, in the test split (officially 5).")
    validation_takes: Count = Field(description="Number of takes after those in the validation split.")


class Corpus(Section):
    seed: Natural = Field(
        description="Seed of what is drawn to make a corpus: texts, voices, noise, splits. Not `seed`, so that runs "
        "with several seeds share one test set."
    )
    start: CorpusChoice = Field(description="Corpus of the supervised start, with transcripts.")
    target: CorpusChoice = Field(
        description="Corpus that RAFT adapts to: it samples train, chooses on validation and reports on test."
    )
    espeak: Espeak = Field(description="Synthetic speech. The corpora share no voice; no test text occurs in training.")
    fsdd: Fsdd = Field(description="How recordings of single digits are split.")


class Limits(Section):
    max_bad_fraction: Share = Field(description="Fail when a larger share of clips is rejected (see quarantine.jsonl).")
    max_clip_s: Positive = Field(
        description="Speech recognition rejects longer clips, seconds: attention costs the square of the length. "
        "soundraft transcribe takes recordings of any length."
    )


class Normalize(Section):
    sample_rate_hz: Annotated[int, Field(ge=4000, le=192000)] = Field(description="Sampling rate of the result, Hz.")
    target_db: Annotated[float, Field(ge=-60, le=0)] = Field(
        description="Level of the loudest window, dBFS RMS. A gain that would clip is limited, and counted."
    )
    window_s: Positive = Field(description="Length of the sliding window, seconds; its step is a quarter of it.")
    silence_db: Annotated[float, Field(le=0)] = Field(
        description="A clip whose loudest window is below this level, dBFS, is silent, and rejected."
    )
    min_duration_s: Positive = Field(description="Shorter clips, seconds, are rejected.")
    on_clipping: Literal["limit", "report"] = Field(
        description="What happens when the gain would clip: limit (the gain stops at full scale), report (full gain, "
        "samples cut at full scale). Either way it is counted, and levels.jsonl names each clip."
    )


def _bandwidth(value: float) -> float:
    if value not in BANDWIDTHS_KBPS:
        raise ValueError(f"got {value}; allowed: {', '.join(map(str, BANDWIDTHS_KBPS))}")
    return value


class Encodec(Section):
    checkpoint: Text = Field(
        description="The codec: tiny (in this repository, for synthetic speech only), a hub id "
        "(facebook/encodec_24khz, the one for real work), or a local folder with a 24 kHz EnCodec checkpoint (DVC does "
        "not watch that folder: after a change run `dvc repro --force s2_encodec`)."
    )
    revision: Revision
    bandwidth_kbps: Annotated[float, AfterValidator(_bandwidth)] = Field(
        description="Bandwidth, kbps: 1.5, 3.0, 6.0, 12.0 or 24.0, for 2, 4, 8, 16 or 32 codebooks. tiny has up to 6.0."
    )
    container: Literal["esf", "encodec"] = Field(
        description="Format of the token files: esf (a torch file), encodec (of the encodec package, 7 times smaller)."
    )


class Sidecar(Section):
    dtype: Literal["float16", "float32"] = Field(description="Number format of the features.")
    producers_dir: Text = Field(description="Folder of your own producers, relative to the repository.")
    producers: list[Text] = Field(
        description="Producers to run, in this order; of two features with one name the last wins. Names of built-in "
        "ones (const, lin, from_filename, from_audio, from_manifest), of files in producers_dir, or dotted modules. "
        "DVC watches only that folder: after a change in another module run `dvc repro --force s4_sidecar_add`."
    )
    arguments: list[str] = Field(description="Options of the producers, as for stages/s4_sidecar_add.py.")


class Audit(Section):
    require: list[str] = Field(description="Features that every sidecar must have.")
    verify_ranges: bool = Field(description="Whether values are compared with the range that the sidecar states.")
    range_tolerance: NotNegative = Field(description="Tolerance of that comparison.")
    fail_on: list[FindingCode] = Field(
        description="Findings that can fail the pipeline; others are only reported. A clip that s3 or s4 rejected has "
        "no sidecar, and counts as missing_sidecar."
    )
    max_failing_fraction: Share = Field(description="Fail when a larger share of clips has such a finding.")


class DatasetForm(Section):
    materialize: Literal["embed", "copy"] = Field(
        description="How tokens and features come into the dataset: embed (columns of the tables: one self-contained, "
        "streamable dataset), copy (files beside the tables). stages/s5_build_dataset.py alone has more ways."
    )


class ScratchModel(Section):
    sample_rate_hz: Annotated[int, Field(ge=4000, le=48000)] = Field(
        description="Sampling rate of the input, Hz; 8000 is telephone speech."
    )
    mel_bins: Annotated[int, Field(ge=8, le=256)] = Field(description="Mel bands of the features.")
    window_s: Positive = Field(description="Analysis window, seconds.")
    hop_s: Positive = Field(description="Step between frames, seconds.")
    hidden_size: Annotated[int, Field(ge=8)] = Field(description="Width of the network; a multiple of attention_heads.")
    layers: Count = Field(description="Conformer blocks.")
    attention_heads: Count = Field(description="Attention heads per block.")
    subsampling: Literal[2, 4, 8] = Field(
        description="Feature frames per output frame. Longer texts cannot be learned."
    )
    dropout: BelowOne = Field(description="Dropout inside the network. train.masking regularises already, at no cost.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ScratchModel":
        if self.hidden_size % self.attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of attention_heads {self.attention_heads}"
            )
        return self


class Model(Section):
    checkpoint: Text = Field(
        description="The start model: scratch (the small Conformer below), a hub id (openai/whisper-tiny, "
        "facebook/wav2vec2-base-960h), or a local folder. With train.epochs 0 a pretrained model is taken as it is."
    )
    revision: Revision
    language: str = Field(description="Language code for a multilingual Whisper, such as en. Empty for other models.")
    window_s: Annotated[int, Field(ge=0, le=30)] = Field(
        description="Window of a Whisper, whole seconds; 0: as it was trained, 30 s. Less makes clips that are short "
        "faster to learn and to transcribe; with less than a dozen seconds behind the longest clip it repeats itself."
    )
    scratch: ScratchModel = Field(
        description="The network of scratch: like Parakeet, 1 M parameters, characters as tokens."
    )


class LongAudio(Section):
    window_s: Positive = Field(
        description="Longest window of a CTC model that was trained elsewhere, seconds: about what hub models learned. "
        "One of ours takes the longest clips that it learned, Whisper has its own."
    )
    quiet_s: Positive = Field(description="A cut lies amid the quietest stretch of this length, seconds.")
    step_s: Positive = Field(description="Step of the search for it, seconds.")
    pause_db: Positive = Field(
        description="For a model of ours, a quiet stretch so far below the loudest one, dB, is a pause and left out."
    )
    least_s: Positive = Field(description="A cut leaves at least this much audio behind it, seconds.")
    silence_db: float = Field(description="A window whose loudest stretch is below this, dBFS, has no speech.")
    batch_windows: Count = Field(description="Windows per batch.")
    line_s: Positive = Field(description="Longest line of subtitles, seconds.")
    line_characters: Count = Field(description="Longest line of subtitles, characters.")


class Fallback(Section):
    temperatures: list[Positive] = Field(description="Temperatures of the attempts, in this order; empty: none.")
    compression_ratio_threshold: Positive = Field(description="A text that compresses better than this is a loop.")
    logprob_threshold: float = Field(description="A text whose tokens have a lower mean log-probability is unlikely.")


class Decoding(Section):
    batch_clips: Count = Field(description="Clips per batch on a CPU, which is fastest with few of similar length.")
    batch_clips_gpu: Count = Field(description="Clips per batch on a GPU.")
    beam_tokens_per_frame: Count = Field(
        description="Beam search of a CTC model tries so many of the most likely tokens of a frame. In a trained model "
        "the 17th is below 1e-4."
    )
    long_audio: LongAudio = Field(description="soundraft transcribe cuts long recordings into windows at quiet places.")
    fallback: Fallback = Field(
        description="soundraft transcribe: where a text of Whisper is a loop or unlikely, its window is decoded again, "
        "as in openai/whisper."
    )


class SupervisedStart(Section):
    batch_size: Count = Field(description="Clips per batch.")
    learning_rate: Positive = Field(description="Peak of the learning rate: linear warm-up, then half a cosine.")


class Masking(Section):
    masks: Natural = Field(description="Masks per clip and axis; 0 turns masking off.")
    frequency_bins: Natural = Field(description="Widest frequency mask, in mel bands.")
    time_share: Share = Field(description="Widest time mask, as a share of the clip.")


class Lora(Section):
    rank: Natural = Field(description="Rank of the adapters; 0 trains all weights.")
    alpha: Positive = Field(description="They are scaled by alpha / rank.")
    dropout: BelowOne = Field(description="Dropout before the adapters.")


class Train(Section):
    epochs: Natural = Field(description="Epochs of the supervised start. 0 takes model.checkpoint as it is.")
    supervised: SupervisedStart = Field(description="Optimiser of the supervised start.")
    algorithm: Literal["raft", "grpo", "mwer", "sft", "self_training", "random"] = Field(
        description="How a cycle improves the model: raft (learn the best samples), grpo and mwer (policy gradients on "
        "all samples), sft (learn the transcripts); self_training and random are controls without a reward."
    )
    cycles: Natural = Field(description="Number of cycles. From 4 to 6 trains two cycles; going back trains none.")
    rounds_per_cycle: Count = Field(
        description="A cycle samples its clips in so many rounds, each from the model as it is by then. 1: all at the "
        "start, as a run without the pipeline does with Whisper where none is given."
    )
    samples_per_prompt: Count = Field(
        description="Texts sampled per clip and cycle (K). CTC models run the encoder once, so 64 cost little more; "
        "Whisper pays for each: a run without the pipeline takes 8 where none is given."
    )
    temperature: Positive = Field(description="Sampling temperature: above 1 samples vary more, below 1 less.")
    reward_threshold: Share = Field(description="A clip whose best sample has a smaller reward is left out.")
    keep_top_percent: Percent = Field(
        description="Of the clips above the threshold, learn so many percent, from 1, by reward."
    )
    learning_rate: Positive = Field(
        description="Peak learning rate of cycle 1 (of a classifier: classification.trainer.cycle_learning_rate)."
    )
    lr_decay_per_cycle: Annotated[float, Field(gt=0, le=1)] = Field(description="Factor on it from cycle to cycle.")
    min_lr: NotNegative = Field(description="The decay ends here. A floor: it never lifts learning_rate itself.")
    warmup_share: Share = Field(description="Share of all steps that warm up. In the start as well.")
    final_lr_share: Share = Field(description="The learning rate ends at this share of its peak. In the start as well.")
    weight_decay: NotNegative = Field(description="Weight decay of AdamW.")
    max_grad_norm: Positive = Field(description="Gradients are clipped to this norm.")
    group_size: Annotated[int, Field(ge=2)] = Field(
        description="grpo and mwer: at most so many different samples of a clip, the most frequent ones."
    )
    ratio_clip: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="grpo: a text is not pushed on when its probability has changed by more than this share."
    )
    best_weight: Share = Field(
        description="grpo and mwer: weight of learning the best sample as well, for stability; 0 is the method of the "
        "papers."
    )
    reference_weight: Share = Field(
        description="Weight of learning the transcript as well; the algorithm's is the rest. 1 is sft."
    )
    kl_weight: NotNegative = Field(description="grpo and mwer: weight of the divergence from the start model.")
    presentations_per_cycle: Count = Field(
        description="Clips learned per cycle, replay included; also by each control."
    )
    replay_fraction: BelowOne = Field(
        description="Share of them that are clips of the start corpus with their transcripts, against forgetting. Not "
        "for classification, whose start corpus is the target itself."
    )
    batch_size: Count = Field(description="Clips per batch in a cycle.")
    gradient_accumulation_steps: Count = Field(description="Batches per optimiser step.")
    masking: Masking = Field(
        description="SpecAugment masks in training. For CTC models on mel features, such as scratch; models on raw "
        "waves mask by their own configuration, Whisper is not masked."
    )
    lora: Lora = Field(
        description="Low-rank adapters (LoRA) instead of all weights, merged when a cycle ends. Like freeze for "
        "cycles, and for the supervised start of a pretrained checkpoint; scratch trains all its weights there."
    )
    freeze: Literal["none", "features", "encoder"] = Field(
        description="Which weights are frozen: none, features (the convolutions over the audio), encoder (only the "
        "head, or Whisper's decoder, is trained)."
    )
    gradient_checkpointing: bool = Field(description="Whether activations are computed twice to save memory.")
    precision: Literal["float32", "bfloat16"] = Field(
        description="Number format of the forward pass; weights stay float32."
    )

    @model_validator(mode="after")
    def _divergence_fits_the_algorithm(self) -> "Train":
        if self.kl_weight and self.algorithm not in ("grpo", "mwer"):
            raise ValueError(f"kl_weight: {self.algorithm} has no such term; set it to 0.0, or take grpo or mwer")
        return self


class RewardGuards(Section):
    repeats: Count = Field(
        description="A word or phrase may stand so many times in a row. More counts as a loop, unless the transcript "
        "has one, or with unsupervised, unless the texts of corpus.start repeat as much."
    )
    length_ratio: Annotated[float, Field(ge=1)] = Field(
        description="A sample may have so many times the words of the transcript, and 3 more. Not for unsupervised."
    )


class PartWeights(Section):
    agreement: NotNegative = Field(description="Similarity to the other samples of the clip.")
    words: NotNegative = Field(description="Similarity of each word to a word of corpus.start, in spelling.")
    vocabulary: NotNegative = Field(description="Share of words that occur in corpus.start.")
    length: NotNegative = Field(description="Whether the text has a usual number of characters per second.")
    language: NotNegative = Field(description="Likelihood under an n-gram model of the texts of corpus.start.")
    stability: NotNegative = Field(
        description="Similarity to the model's output on perturbed copies of the clip, which costs their recognition."
    )

    @model_validator(mode="after")
    def _one_counts(self) -> "PartWeights":
        if not any(self.leaves().values()):
            raise ValueError("all are 0: give at least one part of the reward a weight above 0")
        return self


class UnsupervisedParts(Section):
    weights: PartWeights = Field(description="Weights; 0 leaves a part out. At least one is above 0.")
    unit: Literal["word", "character"] = Field(description="Unit of agreement, stability and language.")
    characters_per_s: list[Positive] = Field(
        min_length=2,
        max_length=2,
        description="Usual characters per second: [least, most]. The part length falls to "
        "0 at none and at twice the most.",
    )
    language_order: Count = Field(description="Order of the n-gram model, in units.")
    success_threshold: Share = Field(description="A sample counts as solved when its reward is at least this.")

    @model_validator(mode="after")
    def _ascending(self) -> "UnsupervisedParts":
        _check_ascending(self, "characters_per_s")
        return self


class Perturbation(Section):
    speeds: list[Annotated[float, Field(ge=0.5, le=2)]] = Field(
        description="Speeds, 0.5 to 2; they change the pitch, too."
    )
    noise_snr_db: float = Field(description="Signal-to-noise ratio of the copy with white noise, dB.")


class LabelParams(Section):
    aliases: list[Pair] = Field(description="Other names of a label, each as label=alias: [yes=yeah, yes=yep].")
    ignore_case: bool = Field(description="Whether upper and lower case are the same.")
    fuzzy_threshold: Share = Field(
        description="Above 0, an answer that is no label stands for the most similar label that is at least so similar."
    )


class RewardParams(Section):
    kind: Literal["reference", "unsupervised"] = Field(
        description="Reward of a sample: reference (from its transcript), unsupervised (from the samples of the clip "
        "and the texts of corpus.start; the transcripts of corpus.target are not read)."
    )
    normalizer: Literal["none", "basic", "whisper-english", "whisper-multilingual", "spoken-digits"] = Field(
        description="Text normalisation before scoring, in the reward and in every metric; models learn such texts. "
        "none (spaces only), basic (lower case, no punctuation, any script), whisper-english (as Whisper's published "
        "figures: digits, American spelling), whisper-multilingual (the same for other languages, without digits), "
        "spoken-digits (basic, with English numbers digit by digit: 21, twenty-one and two one are equal)."
    )
    wer_threshold: Share = Field(
        description="A sample with at most this WER is solved (success rate); CER where words have no spaces."
    )
    cer_weight: Share = Field(description="Weight of the character error rate in the error; the rest is WER.")
    clipped: bool = Field(description="Whether an error above 1 counts as 1, so that no reward is below 0.")
    guards: RewardGuards = Field(
        description="Degenerate samples get the worst reward, whatever their score; rollouts.parquet names the guard. "
        "Empty samples always do."
    )
    unsupervised: UnsupervisedParts = Field(
        description="For unsupervised: the reward is the weighted mean of the parts."
    )
    perturbation: Perturbation = Field(description="The perturbed copies of a clip for the part stability.")
    labels: LabelParams = Field(description="For classification: what counts as the right label. The reward is 1 or 0.")


class Evaluate(Section):
    bootstrap_samples: Annotated[int, Field(ge=100)] = Field(description="Bootstrap resamples for the 95 % intervals.")
    table_rows: Count = Field(description="Rows in the tables of confusions and of worst clips.")
    judge: str = Field(
        description="For tts: one more recogniser that hears the test clips, a folder or hub id, such as a Whisper. "
        "Empty: none."
    )


class Benchmark(Section):
    clips: Count = Field(description="Clips on which speed is measured.")
    warmup: Natural = Field(description="Passes before the clock starts.")
    repeats: Count = Field(description="Timed passes; the median counts.")


class Params(Section):
    """One file, one experiment. `dvc exp run -S train.cycles=6` changes a number for one run. The first stage names
    every problem in this file before anything runs. Machine facts (device, workers, tracking address) come from the
    environment, see README. The comments are the descriptions of the keys in src/soundraft/params, put here by
    `python -m soundraft.params`.
    """

    task: Annotated[str, AfterValidator(known_task)] = Field(
        description="The task, which decides reward, metric and model family: "
        + "; ".join(f"{name} ({entry.about})" for name, entry in TASKS.items())
        + "."
    )
    seed: Natural = Field(
        description="Seed of weights, batches and samples. Another seed: another run on the same data."
    )
    corpus: Corpus
    limits: Limits
    normalize: Normalize = Field(description="s1: every clip becomes mono at one sampling rate and one loudness.")
    encodec: Encodec = Field(description="s2: normalised audio becomes EnCodec tokens, 75 frames per second.")
    sidecar: Sidecar = Field(description="s3 and s4: features aligned with the tokens, one row per frame.")
    audit: Audit = Field(description="Checks before the dataset is built; reports/audit names every finding.")
    dataset: DatasetForm = Field(description="s5: audio, tokens and features become Hugging Face datasets.")
    model: Model
    decoding: Decoding = Field(description="How models are asked for their answers.")
    classification: Classification = Field(
        description="task: classification. What is predicted from what, by which network, and how it is trained."
    )
    enhancement: Enhancement = Field(
        description="task: enhancement. Noisy speech in, clean speech out: by which network, how it is trained, and "
        "what RAFT rewards."
    )
    tts: Tts = Field(description="task: tts. The model that speaks, and who hears it.")
    train: Train
    reward: RewardParams
    evaluate: Evaluate
    benchmark: Benchmark

    @model_validator(mode="after")
    def _learning_rate_is_above_its_floor(self) -> "Params":
        key, rate, floor = "train.learning_rate", self.train.learning_rate, self.train.min_lr
        if self.task == "classification":
            trainer = self.classification.trainer
            key, rate = "classification.trainer.cycle_learning_rate", trainer.cycle_learning_rate
        if self.task == "enhancement":
            key, rate = "enhancement.trainer.cycle_learning_rate", self.enhancement.trainer.cycle_learning_rate
        if floor > rate:
            raise ValueError(f"train.min_lr: got {floor:g}, which is above {key}: {rate:g}; lower it")
        return self

    @model_validator(mode="after")
    def _sections_go_together(self) -> "Params":
        train, unsupervised = self.train, self.reward.kind == "unsupervised"
        compared = unsupervised and self.reward.unsupervised.weights.agreement
        several = train.algorithm in ("grpo", "mwer") or (compared and train.algorithm not in ("sft", "self_training"))
        if several and train.samples_per_prompt < 2:
            raise ValueError(
                "train.samples_per_prompt: got 1; grpo, mwer and reward.unsupervised.weights.agreement compare the "
                "samples of a clip: draw 2 or more"
            )
        if unsupervised and train.reference_weight:
            raise ValueError(
                "train.reference_weight learns the transcripts of corpus.target, which reward.kind: unsupervised does "
                "not read: set one of them back"
            )
        if self.model.checkpoint == "scratch" and train.epochs == 0:
            raise ValueError(
                "train.epochs: 0 takes a pretrained model as it is, but model.checkpoint is scratch: "
                "name a checkpoint, or train for 1 epoch or more"
            )
        return self

    @model_validator(mode="after")
    def _classification_has_other_keys(self) -> "Params":
        train = self.train
        pretrained = (train.lora.rank, train.freeze, train.gradient_checkpointing, train.precision)
        if self.task == "classification" and pretrained != (0, "none", False, "float32"):
            raise ValueError(
                "train.lora.rank, train.freeze, train.gradient_checkpointing and train.precision are for speech "
                "recognition: with task: classification leave them 0, none, false and float32, and see "
                "classification.encoder.pretrained.trainable"
            )
        if self.task == "classification" and self.reward.kind == "unsupervised":
            raise ValueError("reward.kind: unsupervised scores transcripts; task: classification needs reference")
        return self

    @model_validator(mode="after")
    def _enhancement_has_other_keys(self) -> "Params":
        if self.task == "enhancement":
            self.enhancement.check_with(self.train)
            if self.reward.kind == "unsupervised":
                raise ValueError("reward.kind: unsupervised scores transcripts; task: enhancement needs reference")
        return self
