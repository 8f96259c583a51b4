"""Filterbank features of 5 s clips at 16 kHz against the same features made frame by frame.

    python benchmarks/bench_spectra.py

40 ms windows every 20 ms, 80 bands, transforms of 640 points (no filter is empty). One thread. Two loops: one makes
window and filters for each clip, as the usual implementations do, the other keeps them.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy starts its threads

import numpy as np
from timing import compare, report

from soundraft.audio.spectra import Spectra
from soundraft.params.classification import SpectraParams

RATE_HZ = 16000
CLIPS = 20
SECONDS = 5
WIDTH, SHIFT, BANDS = 640, 320, 80
REPEATS = 7
OURS = Spectra(
    SpectraParams(
        type="fbank",
        sample_rate_hz=RATE_HZ,
        window_length_in_s=WIDTH / RATE_HZ,
        window_shift_in_s=SHIFT / RATE_HZ,
        num_fft_points=0,
        window_type="hamming",
        num_filter_bands=BANDS,
        num_coefficients=20,
        norm="none",
    )
)


def main() -> None:
    rng = np.random.default_rng(0)
    clips = [(0.1 * rng.standard_normal(SECONDS * RATE_HZ)).astype(np.float32) for _ in range(CLIPS)]
    kept = np.hamming(WIDTH), filters()
    for clip in clips:
        np.testing.assert_allclose(OURS(clip), frame_by_frame(clip, *kept), rtol=1e-5, atol=1e-5)

    def ours() -> None:
        for clip in clips:
            OURS(clip)

    def usual() -> None:
        for clip in clips:
            frame_by_frame(clip, np.hamming(WIDTH), filters())

    def keeping() -> None:
        for clip in clips:
            frame_by_frame(clip, *kept)

    ours_s, usual_s = compare(ours, usual, repeats=REPEATS)
    print(f"fbank of a {SECONDS} s clip: {1000 * ours_s / CLIPS:.2f} ms, the loop {1000 * usual_s / CLIPS:.2f} ms")
    report("fbank against the loop", usual_s / ours_s, "×", 5)
    ours_s, keeping_s = compare(ours, keeping, repeats=REPEATS)
    ratio = keeping_s / ours_s
    print(f"fbank against a loop that keeps window and filters, {1000 * keeping_s / CLIPS:.2f} ms: {ratio:.2f} ×")


def frame_by_frame(samples: np.ndarray, window: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    signal = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1].astype(np.float64))
    count = int(np.ceil((len(signal) - WIDTH) / SHIFT + 1))
    rows = []
    for index in range(count):
        part = signal[index * SHIFT : index * SHIFT + WIDTH]
        frame = np.zeros(WIDTH)
        frame[: len(part)] = part - part.mean()
        power = np.abs(np.fft.rfft(frame * window)) ** 2
        rows.append(np.log(matrix @ power + 1e-10))
    return np.array(rows)


def filters() -> np.ndarray:
    """`[BANDS, WIDTH // 2 + 1]`, one weight after the other."""
    top_mel = 2595 * np.log10(1 + RATE_HZ / 2 / 700)
    corners_hz = 700 * (10 ** (np.linspace(0, top_mel, BANDS + 2) / 2595) - 1)
    corners = np.floor((WIDTH + 1) / RATE_HZ * corners_hz).astype(int)
    matrix = np.zeros((BANDS, WIDTH // 2 + 1))
    for band in range(BANDS):
        start, middle, end = corners[band : band + 3]
        for at in range(start, middle):
            matrix[band, at] = (at - start) / (middle - start)
        for at in range(middle, end):
            matrix[band, at] = (end - at) / (end - middle)
    return matrix


if __name__ == "__main__":
    main()
