"use strict";
// A run opens over the page by the address alone (:target); here are only the conveniences: Escape, focus, the place,
// folds that open where a link leads, and the filter.
let opener = null;

const open = () => document.querySelector(".run:target");

function close(event) {
  const run = open();
  if (!run) return;
  event.preventDefault();
  if (opener) history.back();
  else location.hash = run.querySelector(".close").hash;
}

addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  if (link.matches(".close")) close(event);
  else if (link.hash.startsWith("#run-") && !link.closest(".run")) opener = link;
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape") close(event);
});

const reveal = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target || target.matches(".run")) return;
  for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  const own = target.querySelector(":scope > .fold");
  if (own) own.open = true;
};

addEventListener("hashchange", () => {
  reveal();
  const run = open();
  if (run) run.focus({ preventScroll: true });
  else if (opener) {
    opener.focus({ preventScroll: true });
    opener = null;
  }
});

if (matchMedia("(max-width: 60rem)").matches) document.querySelector("nav details").open = false;

reveal();

// The filter shows the parts, and of claims the lines, that have every word; it opens what matches.
const form = document.querySelector("#filter");
const [words, evidence] = form.querySelectorAll("input, select");
const parts = [...document.querySelectorAll(".part")];
const opened = new Set();

function filter() {
  const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const level = evidence.value;
  const has = (text) => asked.every((word) => text.includes(word));
  let shown = 0;
  for (const part of parts) {
    const context = `${part.parentElement.id} ${part.parentElement.querySelector("h2").textContent} `.toLowerCase();
    const own = part.dataset.level === "paper" ? "real" : part.dataset.level;
    let match = !level || own === level;
    const lines = part.querySelectorAll("tr.claim");
    if (lines.length && match && !has(context)) {
      const found = [...lines].filter((line) => {
        const hit = has(context + line.textContent.toLowerCase());
        line.classList.toggle("out", !hit);
        return hit;
      });
      match = found.length > 0;
    } else {
      for (const line of lines) line.classList.remove("out");
      match = match && has(context + part.textContent.toLowerCase());
    }
    part.classList.toggle("out", !match);
    for (const body of part.querySelectorAll("tbody:has(tr.claim)"))
      body.classList.toggle("out", !body.querySelector("tr.claim:not(.out)"));
    shown += match;
    const fold = part.querySelector(":scope > .fold");
    if (fold && asked.length && match && !fold.open) {
      fold.open = true;
      opened.add(fold);
    }
    document.querySelector(`nav a[href="#${part.id}"]`).parentElement.classList.toggle("out", !match);
  }
  if (!asked.length) {
    for (const fold of opened) fold.open = false;
    opened.clear();
  }
  for (const paper of document.querySelectorAll(".of-paper"))
    paper.classList.toggle("out", !paper.querySelector(".part:not(.out)"));
  form.querySelector("#matches").textContent = asked.length || level ? `${shown} of ${parts.length} parts` : "";
}

form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
