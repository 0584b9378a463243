"use strict";
// A run opens over the page by the address alone (:target); here are only the conveniences: Escape, focus, the place.
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

addEventListener("hashchange", () => {
  const run = open();
  if (run) run.focus({ preventScroll: true });
  else if (opener) {
    opener.focus({ preventScroll: true });
    opener = null;
  }
});

if (matchMedia("(max-width: 60rem)").matches) document.querySelector("nav details").open = false;
