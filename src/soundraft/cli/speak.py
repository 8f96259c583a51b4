"""`soundraft speak`: speech from a text, or from files of texts."""

import argparse
from pathlib import Path

from soundraft import files
from soundraft.cli.options import count, positive
from soundraft.runtime import UserError


def speak_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("text", metavar="TEXT", help="What to say; or a .txt file with a text a line; or a .jsonl file of rows with "
        "text, and id and voice where they differ.")  # fmt: skip
    add("--model", required=True, metavar="FOLDER", help="A run of task tts, or the folder of a model.")
    add("--voice", default="", help="A voice that the model has learned, such as en+f3; or a "
        "recording of 2 s or more: then the voice most like it (needs the package resemblyzer).")  # fmt: skip
    add("--best-of", type=positive, default=1, metavar="N", help="Say it so many times, and take what the recogniser "
        "understands best (default: 1).")  # fmt: skip
    add("--seed", type=count, default=0, help="Another seed says it otherwise (default: 0).")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="A .wav file for a text, a folder for a file "
        "of texts; what is in it already is not said again.")  # fmt: skip


def speak(given: argparse.Namespace) -> None:
    from soundraft.audio import ecdc, io
    from soundraft.tasks.lines import Line, read_lines
    from soundraft.tasks.speak import LIST_NAME, Speaker, speak_to_folder

    lines = read_lines(given.text, given.voice)
    several = given.text.lower().endswith((".txt", ".jsonl"))
    if not several and given.output.suffix.lower() != ".wav":
        raise UserError(f"--output: a text becomes a .wav file, not {given.output}")
    if several and given.output.suffix:
        raise UserError(f"--output: a file of texts becomes a folder of .wav files, not {given.output}")
    speaker = Speaker(given.model)
    if several:
        made = speak_to_folder(speaker, lines, given.output, best_of=given.best_of, seed=given.seed, say=print)
        print(f"{given.output}: {len(made)} files, {sum(row.seconds for row in made):.0f} s; {LIST_NAME} lists them")
        return
    (line,) = lines
    line = Line(line.id, line.text, speaker.voice(line.voice))
    ((wave, heard),) = speaker.speak([line], best_of=given.best_of, seed=given.seed)
    files.check_can_write(given.output)
    io.write_wav(given.output, wave, ecdc.SAMPLE_RATE_HZ)
    understood = f"; the recogniser hears: {heard}" if given.best_of > 1 else ""
    print(f"{given.output}: {len(wave) / ecdc.SAMPLE_RATE_HZ:.1f} s in the voice {line.voice}{understood}")
