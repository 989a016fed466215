// Shows the page again when a file changed, gives the letter's frame the letter's height, and keeps the step that is
// shown in sight among the others.
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

function reveal(step) {
  const list = step.closest("nav");
  const above = step.getBoundingClientRect().top - list.getBoundingClientRect().top;
  if (above + step.offsetHeight > list.clientHeight) {
    list.scrollTop = above - list.clientHeight / 2; // only the list moves, never the page
  }
}

const current = document.querySelector("nav [aria-current]");
if (current) {
  reveal(current);
}
const frame = document.getElementById("mail");
if (frame) {
  frame.addEventListener("load", () => fit(frame));
  addEventListener("load", () => fit(frame));
}
watch();
