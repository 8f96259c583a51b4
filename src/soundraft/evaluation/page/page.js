"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  document.documentElement.classList.add("live");
  const sounds = JSON.parse(document.getElementById("sounds").textContent);
  const audio = new Audio();
  let playing = null;

  const stop = () => {
    audio.pause();
    if (playing) { playing.classList.remove("playing"); playing.querySelector(".play").textContent = "▶"; }
    playing = null;
  };
  const start = (player, at = 0) => {
    const button = player.querySelector(".play[data-audio]");
    if (!button) return;
    stop();
    playing = player;
    audio.src = "data:audio/mpeg;base64," + sounds[button.dataset.audio];
    audio.currentTime = at * Number(player.dataset.seconds);
    audio.play();
    button.textContent = "■";
    player.classList.add("playing");
    requestAnimationFrame(follow);
  };
  const follow = () => {
    if (!playing) return;
    const share = Math.min(1, audio.currentTime / Number(playing.dataset.seconds));
    playing.querySelector(".head").style.left = 100 * share + "%";
    requestAnimationFrame(follow);
  };
  audio.addEventListener("ended", stop);
  for (const player of all(".player")) {
    const button = player.querySelector(".play[data-audio]");
    if (button) button.addEventListener("click", () => playing === player ? stop() : start(player));
    const look = player.querySelector(".look");
    look.addEventListener("click", (event) => {
      const box = look.getBoundingClientRect();
      start(player, (event.clientX - box.left) / box.width);
    });
  }

  const clips = all(".clip");
  const seen = () => clips.filter((clip) => !clip.hidden);
  let here = null;
  const go = (clip) => {
    if (!clip) return;
    if (here) here.classList.remove("here");
    here = clip;
    clip.classList.add("here");
    clip.focus({ preventScroll: true });
    clip.scrollIntoView({ block: "center" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, button, summary")) return;
    const there = seen(), place = there.indexOf(here);
    if (event.key === "j") go(there[Math.min(place + 1, there.length - 1)]);
    else if (event.key === "k") go(there[Math.max(place - 1, 0)]);
    else if (event.key === " " && here) {
      event.preventDefault();
      const inside = playing && here.contains(playing);
      if (inside) stop(); else { const first = here.querySelector(".player"); if (first) start(first); }
    }
  });

  const form = document.querySelector(".filters");
  if (form) {
    form.hidden = false;
    const field = (name) => form.elements.namedItem(name);
    const filter = () => {
      const text = field("text").value.toLowerCase();
      for (const clip of clips) {
        clip.hidden = !(
          (!text || clip.textContent.toLowerCase().includes(text)) &&
          (!field("why").value || clip.dataset.why.split("|").includes(field("why").value)) &&
          (!field("speaker") || !field("speaker").value || clip.dataset.speaker === field("speaker").value) &&
          Number(clip.dataset.seconds) >= Number(field("seconds").value || 0) &&
          (!field("wrong").checked || clip.querySelector(".lines dd:last-child") && Number(clip.dataset.after) > 0));
      }
      form.querySelector("output").textContent = seen().length + " of " + clips.length + " clips";
    };
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const cell of all("[data-find]")) {
      cell.addEventListener("click", () => {
        field("text").value = cell.dataset.find;
        filter();
        document.getElementById("clips").scrollIntoView();
      });
    }
    filter();
  }

  const copy = document.querySelector(".copy");
  if (copy) copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(".commands pre").textContent);
    copy.textContent = "copied";
  });
})();
