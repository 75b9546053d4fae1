/** Every event of a case: who changed what, when, and what stood in sight. */

import { get } from "./api.js";
import { fill, h, scrolling } from "./dom.js";
import { boot, main, page, showFault, thisCase } from "./frame.js";
import { eventWords } from "./event_words.js";
import { when } from "./words.js";

/** @typedef {import("./types.js").HistoryEvent} HistoryEvent */

const KINDS = ["label", "flag", "note", "undo", "redo", "adjudicate", "reveal", "created", "files", "scale", "scored", "sample", "reading-started", "reading-finished", "signed", "reopened", "exported"];

/** @param {HistoryEvent} event */
function cellsOf(event) {
  const cells = event.cells ?? [];
  if (!cells.length) return "–";
  return [cells.slice(0, 8).map((n, index) => [index ? ", " : "", h("a", { href: `/cases/${boot.case}/cells/${n}` }, String(n))]),
    cells.length > 8 ? ` and ${cells.length - 8} more` : null];
}

/** @param {HistoryEvent} event */
function shown(event) {
  if (!["label", "flag", "note", "adjudicate"].includes(event.kind) || !event.shown) return "";
  if (event.blind) return "blind";
  const { model, overlay, others } = event.shown;
  return [model ? "model" : "model hidden", overlay ? "heatmap" : "", others ? "other reader" : ""].filter(Boolean).join(", ");
}

page(async () => {
  const [item, { people }] = await Promise.all([thisCase(), get("/api/v1/people")]);
  const names = [...new Set([...item.readers, ...people.map((/** @type {{name: string}} */ each) => each.name)])].sort();
  const body = h("tbody");
  const person = h("select", { "aria-label": "Person" }, h("option", { value: "" }, "Everyone"), names.map((name) => h("option", { value: name }, name)));
  const kind = h("select", { "aria-label": "Kind" }, h("option", { value: "" }, "All kinds"), KINDS.map((name) => h("option", { value: name }, name)));
  const cell = h("input", { type: "number", min: 1, "aria-label": "Cell", placeholder: "Cell" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load(false) }, "Show more");
  const none = h("p", { class: "quiet", hidden: true }, "Nothing matches.");
  const fault = h("div");
  let after = 0;

  /** @param {boolean} anew */
  async function load(anew) {
    if (anew) {
      after = 0;
      body.replaceChildren();
    }
    const query = new URLSearchParams({ limit: "500", after: String(after) });
    if (person.value) query.set("person", person.value);
    if (kind.value) query.set("kind", kind.value);
    if (cell.value) query.set("cell", cell.value);
    try {
      const answer = await get(`/api/v1/cases/${item.id}/history?${query}`);
      for (const event of answer.events) {
        after = Math.max(after, event.seq);
        body.append(h("tr", {}, h("th", { scope: "row" }, String(event.seq)), h("td", {}, when(event.at)), h("td", {}, event.person),
          h("td", {}, eventWords(event)), h("td", {}, cellsOf(event)), h("td", {}, event.reading ? String(event.reading) : ""), h("td", {}, shown(event))));
      }
      more.hidden = !answer.more;
      none.hidden = body.childElementCount > 0;
      fault.replaceChildren();
    } catch (problem) {
      showFault(problem, fault);
    }
  }

  for (const each of [person, kind, cell]) each.addEventListener("change", () => load(true));
  fill(main, h("div", { class: "head" }, h("h1", {}, "History"), h("span", { class: "end" }, person, kind, cell,
    h("a", { class: "button", href: `/api/v1/cases/${item.id}/history.csv`, download: true }, "Download CSV"))),
  h("p", { class: "quiet" }, "Nothing here is ever changed or taken away: an undo is an entry of its own."), fault,
  scrolling("Events", h("table", { class: "panel" }, h("thead", {}, h("tr", {},
    ["No.", "When", "Who", "What", "Cells", "Reading", "In sight"].map((name) => h("th", { scope: "col" }, name)))), body)), none, more);
  await load(true);
});
