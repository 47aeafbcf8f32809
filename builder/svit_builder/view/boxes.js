// A phrase under the pointer or in focus lights its boxes up, and a box its phrases.
"use strict";

{
  const page = document.querySelector("main.row");
  const boxes = [...page.querySelectorAll("[data-box]")];
  const phrases = [...page.querySelectorAll("[data-boxes]")];
  const named = (phrase) => phrase.dataset.boxes.split(" ");

  /** Light up the boxes of these names and the phrases that refer to one of them; no names: nothing is lit. */
  const light = (names) => {
    const wanted = new Set(names);
    for (const box of boxes) box.classList.toggle("lit", wanted.has(box.dataset.box));
    for (const phrase of phrases) {
      phrase.classList.toggle("lit", named(phrase).some((name) => wanted.has(name)));
    }
    page.classList.toggle("lighting", wanted.size > 0);
  };

  const namesAt = (target) => {
    const one = target instanceof Element ? target.closest("[data-box], [data-boxes]") : null;
    if (!one) return [];
    return "box" in one.dataset ? [one.dataset.box] : named(one);
  };

  // Where nothing is pointed at, what is in focus is lit, or else the box that the address names.
  const shared = () => {
    const asked = decodeURIComponent(location.hash.slice(1));
    return boxes.some((box) => box.dataset.box === asked) ? [asked] : [];
  };
  const show = (target) => {
    const names = [target, document.activeElement].map(namesAt).find((some) => some.length);
    light(names ?? shared());
  };

  for (const kind of ["pointerover", "focusin"]) page.addEventListener(kind, (event) => show(event.target));
  for (const kind of ["pointerleave", "focusout"]) page.addEventListener(kind, () => show(null));

  // A click on a phrase goes to its box, without leaving an entry in the history for each.
  page.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[data-boxes]") : null;
    if (!link) return;
    event.preventDefault();
    history.replaceState(null, "", link.hash);
    show(link);
    page.querySelector(".photo").scrollIntoView({ block: "nearest" });
  });

  show(null);
}
