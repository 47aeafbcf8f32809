// Keys: arrows move between cards and turn pages, / goes to the search, Enter opens, Esc goes back.
// Loaded as a plain script, not as a module: browsers load no module from a file, and exported pages are files.
"use strict";

{
  const typing = (element) => element instanceof HTMLElement && element.matches("input, select, textarea");
  const follow = (rel) => {
    const link = document.querySelector(`a[rel~="${rel}"]`);
    if (link) link.click();
    return Boolean(link);
  };

  /** Return the card that lies one step from the focused one, or null at the edge. */
  const neighbour = (cards, key) => {
    const at = cards.indexOf(document.activeElement);
    if (at < 0) return key === "ArrowLeft" ? null : cards[0];
    const tops = cards.map((card) => card.getBoundingClientRect().top);
    const wrap = tops.findIndex((top) => top > tops[0] + 4);
    const columns = wrap < 0 ? cards.length : wrap;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
    return cards[at + step] ?? null;
  };

  const arrow = (key) => {
    const sideways = key === "ArrowLeft" || key === "ArrowRight";
    const cards = [...document.querySelectorAll(".card a")];
    const card = cards.length ? neighbour(cards, key) : null;
    if (card) {
      card.focus();
      return true;
    }
    return sideways && follow(key === "ArrowLeft" ? "prev" : "next");
  };

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const field = document.getElementById("q");
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    let done = false;
    if (event.key === "/" && field) {
      field.focus();
      field.select();
      done = true;
    } else if (event.key === "Escape") {
      done = follow("up");
    } else if (event.key.startsWith("Arrow") && !event.shiftKey) {
      done = arrow(event.key);
    }
    if (done) event.preventDefault();
  });

  // A choice is taken at once where scripts run; the button is for where they do not.
  for (const select of document.querySelectorAll("form.choose select")) {
    select.addEventListener("change", () => select.form.requestSubmit());
    select.form.querySelector("button").hidden = true;
  }

  // Only as many tabs as fit are seen on a narrow screen: bring the current one into view.
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}
