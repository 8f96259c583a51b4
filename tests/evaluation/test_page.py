import base64
import html
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy
import torch

from soundraft.audio import io
from soundraft.dataset.tokens import TokenDataset
from soundraft.evaluation.page import build, charts, clips, corpus
from soundraft.evaluation.page.charts import Series
from soundraft.evaluation.page.run import Run
from soundraft.runtime import UserError
from soundraft.tasks.asr import columns_by
from soundraft.tasks.classification import COLUMNS
from tests.evaluation import pages
from tests.evaluation.answers import BOOTSTRAP, label_results

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return pages.run(tmp_path_factory.mktemp("texts"), pages.text_results(), columns_by("wer", "cer"))


@pytest.fixture(scope="module")
def page(texts: Run) -> str:
    return build.render(texts)


def visible(page: str) -> str:
    """The text of a page without its tags, style and scripts."""
    bare = re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(bare).split())


def test_the_verdict_has_figures_and_p_values(page: str, texts: Run) -> None:
    start, last, control = texts.models[0], texts.models[2], texts.models[3]
    before, after = (texts.scores(model).value("wer") for model in (start, last))
    said = visible(page)
    assert f"RAFT: WER {before:.1%} → {after:.1%}" in said
    found = texts.scores(last).difference(texts.scores(control), "wer", BOOTSTRAP)
    assert f"better than supervised on references ({build.p_text(found.p_value)})" in said
    assert "Better than the start model" in said


def test_every_number_of_every_model_is_in_the_table(page: str, texts: Run) -> None:
    said = visible(page)
    for model in texts.models:
        for cell in model.cells.values():
            value, _, interval = cell["shown"].partition(" [")
            assert " ".join([value, interval.removesuffix("]")]).strip() in said


def test_a_transcript_is_text_and_never_code(page: str) -> None:
    assert pages.HOSTILE not in page
    assert "alert(" in visible(page)
    assert page.count("<script") == 2  # the sounds and ours
    assert "<b>s1</b>" not in page


def test_a_note_is_strong_where_the_report_is(page: str) -> None:
    assert "a <b>strong</b> note &lt;i&gt;" in page


def test_equal_runs_make_equal_bytes(texts: Run, page: str, tmp_path: Path) -> None:
    again = pages.run(tmp_path / "elsewhere", pages.text_results(), columns_by("wer", "cer"))
    assert build.render(again) == page


def test_the_page_asks_for_nothing_outside(page: str) -> None:
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'>)\s]+)""", page)
    assert addresses
    assert all(address.startswith(("data:", "#", "+")) for address in addresses)
    assert "http" not in re.sub(r'http-equiv="', "", page)
    assert len(page.encode()) < 5_000_000


def test_classifiers_have_probabilities_and_a_confusion_matrix(tmp_path: Path) -> None:
    found = pages.run(tmp_path, label_results(0.6, 0.7, 0.9), COLUMNS)
    said = visible(build.render(found))
    assert "accuracy 60.0% → 90.0%" in said
    assert "What is taken for what" in said
    assert "statistics SVM" in said


def test_another_run_stands_beside(texts: Run, tmp_path: Path) -> None:
    results = pages.text_results()
    other = pages.run(tmp_path, results[:2], columns_by("wer", "cer"))
    said = visible(build.render(texts, other))
    assert "Against a run" in said
    last, earlier = (run.scores(run.last).value("wer") for run in (texts, other))
    assert f"WER {last:.1%} {earlier:.1%}" in said


def test_a_folder_that_was_not_measured_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"models\.json"):
        build.render(Run(tmp_path, {}, "nothing"))


def test_errors_are_marked_where_they_are() -> None:
    marked = str(clips.aligned("turn the <light> off", "turn a <light> off now"))
    assert marked == (
        'turn <span class="sub" title="the → a"><s>the</s><b>a</b></span> &lt;light&gt; off '
        '<span class="ins" title="added">+now</span>'
    )
    assert str(clips.aligned("a b", "a")) == 'a <span class="del" title="left out">−b</span>'
    assert str(clips.aligned("", "a")) == '<span class="ins" title="added">+a</span>'


def test_a_sound_of_the_page_sounds_as_it_did() -> None:
    rate_hz = 16000
    given = (0.3 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)).astype(np.float32)
    data = clips.mp3(given, rate_hz)
    assert data == clips.mp3(given, rate_hz)
    decoded, decoded_hz = io.parse(data)
    assert decoded_hz == rate_hz
    spectrum = np.abs(np.fft.rfft(decoded[2000:14000, 0]))
    assert np.argmax(spectrum) * rate_hz / 12000 == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(decoded[2000:14000] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_a_page_that_is_full_leaves_sounds_out(monkeypatch: pytest.MonkeyPatch, texts: Run) -> None:
    monkeypatch.setattr(clips, "MOST_AUDIO_BYTES", 10_000)
    assert "sounds are left out" in visible(build.render(texts))


def test_a_spectrogram_is_bright_where_the_tone_is() -> None:
    tone = np.sin(2 * np.pi * 3000 * np.arange(8000) / 16000).astype(np.float32)
    bright = clips.spectrogram(tone)
    low = clips.spectrogram(np.sin(2 * np.pi * 300 * np.arange(8000) / 16000).astype(np.float32))
    assert bright.mean(1).argmax() < low.mean(1).argmax()  # high frequencies are on top
    png = clips.png(bright)
    matplotlib = pytest.importorskip("matplotlib.image")
    import io as memory

    assert matplotlib.imread(memory.BytesIO(png)).shape[:2] == bright.shape


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.331, 0.358), (-7.0, 13.0), (0.5, 0.5), (0.0, 0.0), (12, 90210)]
)
def test_ticks_are_round_and_hold_the_range(low: float, high: float) -> None:
    found = charts.ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 8
    np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-6)


def test_names_at_the_ends_of_lines_do_not_cover_each_other() -> None:
    lines = [Series(f"line {n}", 0, [0, 1], [0.5, 0.5 + n / 1000]) for n in range(6)]
    drawn = str(charts.lines(lines, show="{:.1%}".format, x_title="cycle", y_title="WER"))
    heights = [float(y) for y in re.findall(r'class="name c0" x="\d+" y="([\d.]+)"', drawn)]
    assert len(heights) == 6
    assert np.diff(sorted(heights)).min() >= 14
    names = [name for _, name in sorted(zip(heights, re.findall(r"</tspan> (line \d)", drawn), strict=True))]
    assert names == [f"line {n}" for n in (5, 4, 3, 2, 1, 0)]  # the highest value on top


def test_a_corpus_is_described_with_what_its_splits_share() -> None:
    def of(*facts: dict[str, object]) -> corpus.Clips:
        heard = [str(each["speaker"] if "speaker" in each else each["id"]).encode() for each in facts]
        return corpus.Clips([str(each["id"]) for each in facts], heard.__getitem__, [dict(each) for each in facts])

    one = of({"id": "a", "text": "the cat", "speaker": "x", "duration": 1800.0})
    two = of({"id": "b", "text": "the dog", "speaker": "x", "duration": 900.0}, {"id": "a", "text": "the cat"})
    found = corpus.describe({"target": {"train": one, "test": two}}, "text")["target"]
    assert [row["hours"] for row in found["splits"]] == [0.5, None]
    assert found["splits"][1]["unknown_share"] == 0.25  # dog
    assert found["edges"][0] <= 900 < 1800 < found["edges"][-1] + 1e-6
    assert found["lengths"] == [["train", [0] * 23 + [1]], ["test", [1] + [0] * 23]]
    alike = corpus.describe({"target": {"train": one}}, "text")["target"]["edges"]
    assert alike[0] < 1800 < alike[-1]
    assert found["shared"] == [{"splits": "train and test", "clips": 1, "recordings": 1, "speaker": 1, "text": 1}]


def test_the_use_of_a_codebook_is_its_entries_and_their_perplexity() -> None:
    drawn = np.random.default_rng(0).geometric(0.1, 600).reshape(2, 300, 1)
    codes = torch.from_numpy(np.concatenate([drawn, np.full_like(drawn, 7)], axis=2))  # [2, T, K]
    first, second = corpus.codebook_use(TokenDataset(2, lambda place: {"codes": codes[place]}))  # type: ignore[arg-type, return-value]
    counts = np.bincount(drawn.ravel())
    assert (first["used"], second["used"]) == ((counts > 0).sum(), 1)
    assert first["perplexity"] == pytest.approx(2 ** scipy.stats.entropy(counts, base=2))
    assert second["perplexity"] == 1.0


@pytest.fixture
def browser(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """A browser without network: what the page is once its script ran, and what the browser says."""
    if not CHROMIUM:
        pytest.skip("no chromium is installed: the page is not opened")

    def opened(page: str, *options: str) -> tuple[str, str]:
        path = tmp_path / "page.html"
        path.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run", "--enable-logging=stderr",
             "--host-resolver-rules=MAP * 0.0.0.0", f"--user-data-dir={tmp_path / 'profile'}", *options,
             "--virtual-time-budget=2000", "--dump-dom", path.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout, done.stderr

    return opened


def test_a_browser_shows_the_page_without_network_or_complaint(
    browser: Callable[..., tuple[str, str]], page: str
) -> None:
    shown, said = browser(page)
    assert "CONSOLE" not in said
    assert 'class="live"' in shown  # the script ran: its hash is the one that the page allows
    assert re.search(r"<output>(\d+) of \1 clips</output>", shown)


def test_a_browser_refuses_what_the_page_does_not_allow(browser: Callable[..., tuple[str, str]], page: str) -> None:
    """The page's own rules hold, even where text became code."""
    _, said = browser(
        page.replace("<footer", '<img src="https://example.com/x.png"><script>window.x = 1</script><footer')
    )
    assert "CONSOLE" in said
    assert "Content Security Policy" in said


def test_the_first_sound_is_playable(browser: Callable[..., tuple[str, str]], page: str) -> None:
    sounds = re.search(r'id="sounds">(.*?)</script>', page, re.DOTALL)
    assert sounds is not None
    data = base64.b64decode(re.findall(r'"a0": ?"([^"]+)"', sounds[1])[0])
    decoded, _ = io.parse(data)
    assert len(decoded) >= pages.RATE_HZ // 2
