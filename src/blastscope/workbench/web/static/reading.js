/** The second reading: begin one, finish it, and see where the readers agree. */

import { get, post } from "./api.js";
import { tell } from "./dialogs.js";
import { fill, h, scrolling, textOf } from "./dom.js";
import { boot, main, may, outbox, page, showFault, thisCase } from "./frame.js";
import { LABELS, counted } from "./words.js";

/** @typedef {import("./types.js").Case} Case */
/** @typedef {import("./types.js").Reading} Reading */

const WHY_NOT = {
  "one-class": "Both readers used one label only, so κ is not defined.",
  "few-cells": "There are too few cells for κ.",
};

/** @param {Case} item */
async function begin(item) {
  const { people } = await get("/api/v1/people");
  // Whoever begins a second reading has seen the case.
  const others = people.filter((each) => each.active !== false && each.role !== "viewer" && each.name !== boot.person?.name);
  if (!others.length)
    return h("p", { class: "notice" }, "There is nobody else who may read. ", may.admin ? h("a", { href: "/admin" }, "Add a person") : "Ask an administrator to add a person.");
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const form = h("form", { class: "panel" }, h("h2", {}, "Begin a second reading"),
    h("label", { class: "field" }, "Who reads", h("select", { name: "person", required: true }, others.map((each) =>
      h("option", { value: each.id }, each.name)))),
    h("fieldset", {}, h("legend", {}, "Which cells"),
      h("label", { class: "radio" }, h("input", { type: "radio", name: "scope", value: "all", checked: true }), "All cells"),
      h("label", { class: "radio" }, h("input", { type: "radio", name: "scope", value: "random" }), "A random part of ",
        h("input", { type: "number", name: "size", min: 1, max: item.counts.cells, value: Math.min(100, item.counts.cells), "aria-label": "Size of the random part" }), " cells")),
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "blind", checked: true }), "Blind: the reader sees neither the model, nor other labels, nor file names"),
    problem, h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Begin")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const scope = textOf(data, "scope");
    try {
      await post(`/api/v1/cases/${item.id}/readings`, { person: Number(data.get("person")), scope, size: scope === "random" ? Number(data.get("size")) : null, blind: Boolean(data.get("blind")) });
      page(draw);
    } catch (fault) {
      problem.textContent = fault instanceof Error ? fault.message : String(fault);
      problem.hidden = false;
    }
  });
  return form;
}

/** @param {Reading} reading @param {Element} place */
async function finish(reading, place) {
  if (outbox.waiting) {
    await tell("Some labels are not saved yet", h("p", {}, `${counted(outbox.waiting, "change")} of yours wait to be saved, and a finished reading takes none. Finish when the bar says “all saved”.`));
    return;
  }
  await post(`/api/v1/readings/${reading.id}/finish`).then(() => page(draw), (fault) => showFault(fault, place));
}

/** @param {Case} item @param {Reading} reading */
function card(item, reading) {
  const own = reading.person === boot.person?.name;
  const place = h("div");
  return h("section", { class: "panel" }, h("h2", {}, `Reading ${reading.number}: ${reading.person}`),
    h("p", {}, `${reading.blind ? "Blind, " : ""}${reading.scope === "all" ? "all cells" : `a random part of ${counted(reading.cells, "cell")}`}. `
      + (reading.state === "finished" ? "Finished." : `${counted(reading.cells - reading.left, "cell")} labelled, ${reading.left} left.`)),
    own && reading.state === "open" ? h("div", { class: "actions" },
      h("a", { class: "button primary", href: `/cases/${item.id}/gallery?reading=${reading.id}` }, "Read the cells"),
      h("button", { type: "button", onclick: () => finish(reading, place) }, "Finish the reading")) : null, place);
}

/** @param {Api.AgreementJson & {late: number}} compared @param {number} second the number of the second reading */
function comparison(compared, second) {
  const { rows, counts } = compared.table;
  const name = (/** @type {string} */ label) => LABELS[label] ?? label;
  const share = compared.cells ? ` (${((compared.same / compared.cells) * 100).toFixed(1)} %)` : "";
  return [h("p", {}, `The same label on ${compared.same} of ${counted(compared.cells, "cell")}${share}. `,
    compared.kappa === null ? WHY_NOT[/** @type {keyof typeof WHY_NOT} */ (compared.reason)] ?? "κ is not defined."
      : compared.low === null || compared.high === null ? `Cohen's κ ${compared.kappa.toFixed(2)}, without an interval: its formula gives none if no two labels differ, or a reader used one label only.`
        : `Cohen's κ ${compared.kappa.toFixed(2)}, 95 % interval ${compared.low.toFixed(2)} to ${compared.high.toFixed(2)}.`),
  compared.late ? h("p", {}, h("small", {}, `${counted(compared.late, "cell")} of these got the label of reading 1 after reading ${second} was finished, with its labels in sight: the agreement is not independent there.`)) : null,
  scrolling("Agreement", h("table", { class: "confusion" }, h("caption", {}, `Rows: reading 1. Columns: reading ${second}.`),
    h("thead", {}, h("tr", {}, h("td"), rows.map((label) => h("th", { scope: "col" }, name(label))))),
    h("tbody", {}, rows.map((label, row) => h("tr", {}, h("th", { scope: "row" }, name(label)),
      counts[row].map((count, column) => h("td", { class: row === column ? "same" : count ? "apart" : null }, String(count))))))))];
}

/** @param {Case} item */
async function agreement(item) {
  const answer = await get(`/api/v1/cases/${item.id}/agreement`);
  const { intra_observer: oneself } = answer;
  return h("section", { class: "panel" }, h("h2", {}, "Agreement"),
    answer.cells || !oneself ? comparison(answer, answer.number) : h("p", {}, "Two readers can only be compared if both labelled the same cell: here they did not."),
    oneself ? [h("h3", {}, `${oneself.person} with ${oneself.person}: intra-observer agreement`),
      h("p", {}, h("small", {}, "One person labelled these cells in both readings. That says nothing of another reader.")),
      comparison(oneself, answer.number)] : null,
    answer.open.length ? h("div", { class: "actions" },
      h("a", { class: "button primary", href: `/cases/${item.id}/gallery?filter=disagreements${may.sign ? "&adjudicate=1" : ""}` },
        may.sign ? `Decide ${counted(answer.open.length, "disagreement")}` : `See ${counted(answer.open.length, "disagreement")}`)) : h("p", {}, answer.disagreements.length ? `All ${counted(answer.disagreements.length, "disagreement")} are decided.` : "No disagreement."));
}

async function draw() {
  const item = await thisCase();
  const second = item.readings.filter((reading) => reading.number > 1);
  const finished = second.some((reading) => reading.state === "finished");
  const place = h("div");
  fill(main, h("div", { class: "head" }, h("h1", {}, "Second reading")),
    h("p", { class: "quiet" }, "A second person labels without seeing the model or the first labels. Then both are compared, and a signer decides where they differ."),
    second.map((reading) => card(item, reading)), place);
  if (item.blind) return;
  const parts = [];
  if (finished) parts.push(await agreement(item));
  if (may.sign && item.counts.cells && item.state !== "signed" && !second.some((reading) => reading.state === "open")) parts.push(await begin(item));
  fill(place, parts.length ? parts : second.length ? null : h("p", {}, "No second reading yet. A signer can begin one."));
}

page(draw);
