"""The supervised start of speech recognition: a small network from scratch, or a pretrained checkpoint."""

from pathlib import Path

from soundraft import distributed, files, models, runtime
from soundraft.dataset.loader import shuffled_batches
from soundraft.models import Recognizer, scratch
from soundraft.models.options import Tuning, tuned
from soundraft.params.sections import Params
from soundraft.tasks import asr
from soundraft.tracking import Tracker
from soundraft.training.supervised import FitReport, Masking, Optimizing, Schedule, fit, spoken


def start(params: Params, dataset: Path, out: Path, tracker: Tracker) -> str:
    """Train on a dataset that s5 built, and write model and metrics; what came of it, for a person."""
    recognizer = _open_model(params)
    report = _train(params, dataset, recognizer) if params.train.epochs else None
    clips = asr.load_clips(dataset, "validation", recognizer, normalizer=params.reward.normalizer)
    scored = asr.recognize(recognizer, clips, normalizer=params.reward.normalizer, title="validate")
    metrics = {
        "wer_start_validation": scored.wer,
        "cer_start_validation": scored.cer,
        "parameters": sum(weights.numel() for weights in recognizer.model.parameters()),
        "presentations": report.presentations if report else 0,
        "final_loss": report.final_loss if report else None,
    }
    if distributed.is_main():
        recognizer.save(out)
        files.write_json(out / "metrics.json", metrics)
    tracker.metrics(metrics)
    return f"WER {scored.wer:.1%} on {len(clips)} validation clips of the start corpus"


def _open_model(params: Params) -> Recognizer:
    if params.model.checkpoint == "scratch":
        return scratch.build(**params.model.scratch.model_dump())
    options = params.model
    return models.load_recognizer(
        options.checkpoint, revision=options.revision or None, language=options.language or None
    )


def _train(params: Params, dataset: Path, recognizer: Recognizer) -> FitReport:
    """Teach the recogniser the start corpus, `train.epochs` times."""
    options = params.train
    clips = asr.load_clips(dataset, "train", recognizer, normalizer=params.reward.normalizer)
    batches = [
        batch
        for epoch in range(options.epochs)
        for batch in shuffled_batches(
            clips.lengths,
            options.supervised.batch_size,
            seed=runtime.derive_seed(params.seed, "epoch", epoch),
        )
    ]
    random_weights = params.model.checkpoint == "scratch"  # they must all learn
    lora = options.lora.model_dump()
    tuning = Tuning.of(
        lora=lora | {"rank": 0} if random_weights else lora,
        freeze="none" if random_weights else options.freeze,
        gradient_checkpointing=options.gradient_checkpointing,
        precision=options.precision,
    )
    with tuned(recognizer, tuning):
        return fit(
            recognizer,
            spoken(clips.features, clips.texts),
            batches,
            schedule=Schedule(options.supervised.learning_rate, options.warmup_share, options.final_lr_share),
            optimizing=Optimizing(options.weight_decay, options.max_grad_norm, options.gradient_accumulation_steps),
            masking=Masking(**options.masking.model_dump()),
            title="supervised start",
        )
