// The search of exported pages: looks through the texts in search.data.js, which lies beside the page.
"use strict";

{
  const limit = 48;
  const query = (new URLSearchParams(location.search).get("q") ?? "").split(/\s+/).join(" ").trim();
  const { rows } = globalThis.svitSearch;
  const list = document.querySelector("ol.cards");
  const status = document.getElementById("searched");
  document.getElementById("q").value = query;

  /** Return where a row holds the query and the text around it, or null. */
  const hitIn = (row, wanted) => {
    if (String(row.id) === query) return ["image id", query, 0];
    for (const [where, text] of row.texts) {
      const at = text.toLowerCase().indexOf(wanted);
      if (at >= 0) return [where, text, at];
    }
    return null;
  };

  const element = (name, className, text) => {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    return made;
  };

  const card = (row, [where, text, at]) => {
    const from = Math.max(0, at - 60);
    const link = document.createElement("a");
    link.href = row.href;
    if (row.thumbnail) {
      const image = document.createElement("img");
      Object.assign(image, { src: row.thumbnail, alt: `Photo of ${row.title}`, loading: "lazy" });
      link.append(image);
    } else {
      link.append(element("span", "bare", "text only"));
    }
    const name = element("span", "name", ` ${where}`);
    name.prepend(element("b", "", row.title));
    const teaser = element("span", "teaser", from ? "… " : "");
    teaser.append(text.slice(from, at), element("mark", "", text.slice(at, at + query.length)));
    teaser.append(text.slice(at + query.length, from + 160));
    link.append(name, teaser);
    const item = element("li", "card", "");
    item.append(link);
    return item;
  };

  if (query) {
    const found = [];
    for (const row of rows) {
      const hit = hitIn(row, query.toLowerCase());
      if (hit) found.push(card(row, hit));
      if (found.length === limit) break;
    }
    list.append(...found);
    const more = found.length === limit ? ", and maybe more" : "";
    status.textContent = `${found.length} of ${rows.length} rows hold “${query}”${more}.`;
  } else {
    status.textContent = `Type what a question, an answer or a topic holds; ${rows.length} rows are searched.`;
  }
}
