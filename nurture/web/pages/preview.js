// Shows the page again when a file changed, and gives the letter's frame the letter's height.
"use strict";

const stamp = document.documentElement.dataset.stamp;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function watch() {
  for (;;) {
    try {
      const answer = await fetch(`/changed?since=${encodeURIComponent(stamp)}`, { cache: "no-store" });
      const known = await answer.json();
      if (known.stamp && known.stamp !== stamp) {
        location.reload();
        return;
      }
    } catch {
      // the preview was stopped; it may come back
    }
    await pause(500);
  }
}

function fit(frame) {
  const letter = frame.contentDocument;
  if (letter && letter.body) {
    frame.style.height = "0";
    frame.style.height = `${letter.documentElement.scrollHeight}px`;
  }
}

const frame = document.getElementById("mail");
if (frame) {
  frame.addEventListener("load", () => fit(frame));
  addEventListener("load", () => fit(frame));
}
watch();
