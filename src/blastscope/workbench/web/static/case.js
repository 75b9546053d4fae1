/** The page of a case: its shares, what is left, the sign-off, and which model scored it. */

import { call, get, post } from "./api.js";
import { ask } from "./dialogs.js";
import { fill, h, scrolling, table } from "./dom.js";
import { fieldsPanel, scaleForm } from "./fields.js";
import { boot, main, may, page, showFault, thisCase } from "./frame.js";
import { lineCard, lineWords } from "./lines.js";
import { histogram } from "./plots.js";
import { askToReopen, askToSign, signatureCard } from "./sign.js";
import { counted, number, sentBy, STATES, stopped, when } from "./words.js";

/** @typedef {import("./types.js").Case} Case */
/** @typedef {import("./types.js").Line} Line */

const MATERIAL = { blood: "Blood", marrow: "Bone marrow" };
const SAMPLING = { all: "all nucleated cells", random: "a random sample of the nucleated cells", selected: "cells that somebody selected: no share" };

/** @param {Case} item @param {string} filter @param {string} [order] */
const galleryOf = (item, filter, order = "") => `/cases/${item.id}/gallery?${new URLSearchParams({ ...(filter ? { filter } : {}), ...(order ? { order } : {}) })}`;

/** @param {Case} item @param {Api.ToSignJson | null} sign */
function whatIsLeft(item, sign) {
  const { counts } = item;
  const row = (/** @type {string} */ words, /** @type {number | undefined} */ count, /** @type {string} */ filter) => count === undefined ? null
    : [h("dt", {}, count ? h("a", { href: galleryOf(item, filter) }, words) : words), h("dd", {}, number(count))];
  return h("section", { class: "panel" }, h("h2", {}, "What is left"), h("dl", {},
    row("Without a label", counts.unlabelled, "unlabelled"),
    row("Referred, without a label", counts.referred_left, "referred,unlabelled"),
    row("Unsure", counts.U, "U"),
    row("Flagged", counts.flagged, "flagged"),
    row("Possible doubles", counts.doubles || undefined, "doubles"),
    row("Out of distribution", counts.ood, "ood"),
    row("You and the model differ", counts.disagrees, "disagrees"),
    row("Readers differ", counts.disagreements || undefined, "disagreements")),
  h("div", { class: "actions" }, h("a", { class: "button primary", href: galleryOf(item, counts.unlabelled ? "unlabelled" : "") }, counts.unlabelled ? "Go on labelling" : "Look at the cells"),
    sign && may.sign && item.state !== "signed" ? h("button", { type: "button", id: "sign" }, "Sign…") : null));
}

/** @param {Case} item @param {() => void} again */
function sample(item, again) {
  if (item.sampling === "selected" || item.state === "signed") return null;
  const place = h("div");
  const whole = item.sample ? item.sample.size - item.sample.unusable : 0;
  const sizes = [100, 200, 500].filter((size) => size <= item.counts.cells && size > (item.sample?.size ?? 0));
  const choose = async (/** @type {number} */ size) => {
    const sure = item.sample ? await ask(`Enlarge the random sample to ${size}?`,
      h("p", {}, "The report shows each enlargement. Do not enlarge a sample until you like the result."), { ok: "Enlarge" }) : true;
    if (!sure) return;
    await post(`/api/v1/cases/${item.id}/sample`, { size }).then(again, (fault) => showFault(fault, place));
  };
  return h("section", { class: "panel" }, h("h2", {}, "Count a random sample"),
    item.sample
      ? [h("p", {}, item.sample.left ? `${number(whole - item.sample.left)} of ${counted(whole, "cell")} counted.` : `All ${counted(whole, "cell")} of the sample are counted.`,
        item.sample.unusable ? ` ${counted(item.sample.unusable, "image")} of the sample can't be used any more and ${item.sample.unusable === 1 ? "is" : "are"} not in it.` : ""),
        item.sample.enlarged.length ? h("p", {}, h("small", {}, `Enlarged from ${item.sample.enlarged.map((each) => `${each.before} to ${each.size} cells`).join(", then ")}.`)) : null,
        h("p", {}, h("a", { class: "button", href: galleryOf(item, item.sample.left ? "sample,unlabelled" : "sample", "random") }, item.sample.left ? "Go on counting" : "See the sample"))]
      : h("p", {}, "Cells that are sorted by doubt are not a random sample. To count without labelling every cell, label a random sample. If 40 of 200 are ALL, the 95 % interval is 14.7 to 26.2 %; if 100 of 500 are, it is 16.6 to 23.8 %."),
    may.read && sizes.length ? h("div", { class: "actions" }, item.sample ? "Enlarge to" : "Draw", sizes.map((size) =>
      h("button", { type: "button", onclick: () => choose(size) }, counted(size, "cell")))) : null,
    !item.sample && !sizes.length ? h("p", { class: "quiet" }, "The case has fewer than 100 cells: label all of them.") : null, place);
}

/** @param {any} shares @param {Case} item */
function plot(shares, item) {
  const p = shares.plots?.p;
  if (!p || item.blind || !p.counts.some(Boolean)) return null;
  const { counts } = p;
  const total = counts.reduce((/** @type {number} */ sum, /** @type {number} */ value) => sum + value, 0);
  const middle = (/** @type {number} */ index) => (p.edges[index] + p.edges[index + 1]) / 2;
  const empty = counts.map(() => 0);
  const bins = {
    all: counts.map((/** @type {number} */ value, /** @type {number} */ index) => (middle(index) >= p.threshold ? value : 0)),
    hem: counts.map((/** @type {number} */ value, /** @type {number} */ index) => (middle(index) >= p.threshold ? 0 : value)), none: empty,
  };
  const above = bins.all.reduce((/** @type {number} */ sum, /** @type {number} */ value) => sum + value, 0);
  return h("section", { class: "panel" }, h("h2", {}, "Probability of ALL, by the model"),
    histogram(bins, p.threshold, `Histogram of ${counted(total, "cell")}: about ${above} above the threshold ${p.threshold.toFixed(2)}.`),
    h("p", {}, h("small", {}, `${counted(total, "cell")}, ${counts.length} bars. Right of the threshold the model calls ALL.`)));
}

/** @param {Api.SharesJson} shares */
function subjects(shares) {
  if (!shares.subjects || shares.subjects.length < 2) return null;
  return h("section", { class: "panel" }, scrolling("Subjects", table("This case holds several subjects: each is estimated by itself (share of blasts, 95 % interval).",
    ["Subject", { name: "Cells", number: true }, "The model alone", "People and model", "Counted"],
    shares.subjects.map((each) => [each.subject, number(each.cells), ...each.lines.map(lineWords)]))));
}

/** @param {Case} item @param {() => void} again */
async function scorings(item, again) {
  const [{ models }, { scorings: past }] = await Promise.all([get("/api/v1/models"), get(`/api/v1/cases/${item.id}/scorings`)]);
  const problem = h("div");
  const others = models.filter((/** @type {any} */ model) => model.id !== item.model.id);
  const select = h("select", { "aria-label": "Model" }, others.map((/** @type {any} */ model) => h("option", { value: model.id }, model.name)));
  return h("section", { class: "panel" }, h("h2", {}, "Model"), h("p", {}, h("strong", {}, item.model.name), h("br"), h("code", {}, item.model.digest)),
    past.length ? h("ul", { class: "plain" }, past.map((each) => h("li", {}, `${each.model}, ${when(each.at)}, ${counted(each.cells, "cell")}${each.current ? ": current" : ""}`))) : null,
    may.sign && others.length && item.state !== "signed" ? h("div", { class: "actions" }, select, h("button", { type: "button", onclick: async () => {
      await post(`/api/v1/cases/${item.id}/score`, { model: Number(select.value) }).then(again, (fault) => showFault(fault, problem));
    } }, "Score with this model; the old scoring stays")) : null, problem);
}

async function draw() {
  const item = await thisCase();
  const busy = ["receiving", "preparing", "scoring"].includes(item.state);
  const [shares, sign] = await Promise.all([
    item.blind ? Promise.resolve(null) : get(`/api/v1/cases/${item.id}/shares`),
    item.blind || (busy && !stopped(item.progress.job)) ? Promise.resolve(null) : get(`/api/v1/cases/${item.id}/sign`),
  ]);
  const models = item.blind ? null : await scorings(item, draw).catch(() => null);
  const fields = item.content === "fields" ? await get(`/api/v1/cases/${item.id}/fields`).catch(() => null) : null;
  const signatures = sign?.signatures ?? [];
  const { job } = item.progress;
  fill(main,
    h("div", { class: "head" }, h("h1", {}, item.identifier), h("span", { class: "state", "data-state": item.state }, STATES[item.state]),
      h("span", { class: "end" }, may.read && item.state !== "signed" ? h("a", { class: "button", href: `/cases/new?case=${item.id}` }, "Add files") : null,
        item.state === "signed" && may.sign ? h("button", { type: "button", onclick: () => askToReopen(item, draw) }, "Reopen…") : null)),
    h("p", { class: "quiet" }, `${MATERIAL[item.material]}, ${SAMPLING[item.sampling]}. ${counted(item.counts.cells, "cell")}${item.counts.unusable ? `, and ${counted(item.counts.unusable, "image")} that cannot be used and ${item.counts.unusable === 1 ? "is" : "are"} in no count` : ""}; usual count for this material: ${item.target} cells. `
      + `Begun ${when(item.created_at)} by ${item.created_by}.${item.blind ? "" : ` Files sent by ${sentBy(item.senders)}. Readers: ${item.readers.join(", ") || "none yet"}.`}`, item.note ? [h("br"), `Note: ${item.note}`] : null),
    busy && !item.progress.stopped ? h("div", { class: "notice" }, h("p", {}, `Still ${STATES[item.state]}: ${item.progress.scored} of ${item.progress.cells} cells scored. The shares change until it is done.`)) : null,
    item.progress.stopped && job && !stopped(job) ? h("div", { class: "notice bad" }, h("p", {}, item.progress.stopped), may.read ? [
      h("button", { type: "button", onclick: () => post("/api/v1/worker/restart").then(draw, showFault) }, "Start the worker"), " ",
      h("button", { type: "button", onclick: () => call("DELETE", `/api/v1/jobs/${job.id}`).then(draw, showFault) }, "Cancel the work")] : null) : null,
    job && stopped(job) ? h("div", { class: "notice bad" }, h("p", {}, item.progress.stopped ?? `Stopped: ${stopped(job)}.`),
      h("button", { type: "button", onclick: () => post(`/api/v1/jobs/${job.id}/again`).then(draw, showFault) }, "Try again"),
      job.kind === "segment" ? scaleForm(item, draw) : null) : null,
    sign?.files_waiting && !stopped(job) && item.state !== "signed" ? h("div", { class: "notice warn" }, h("p", {}, h("strong", {}, `${counted(sign.files_waiting, "file")} sent, and not prepared. `),
      h("a", { href: `/cases/new?case=${item.id}` }, "Prepare them"))) : null,
    item.blind ? h("div", { class: "notice" }, h("p", {}, h("strong", {}, "You read this case blind. "), "Shares and the model stay hidden until your reading is finished, or until you show the model in the gallery.")) : null,
    signatures.filter((each) => !each.reopened).map(signatureCard),
    item.progress.refused ? h("div", { class: "notice warn" }, h("p", {}, h("strong", {}, `${counted(item.progress.refused, "file")} could not be used`), " and ", item.progress.refused === 1 ? "is" : "are", " in no count and no share. ",
      h("a", { href: `/api/v1/cases/${item.id}/problems.csv`, download: true }, "Download the list with the reasons (CSV)"))) : null,
    shares ? subjects(shares) : null,
    shares ? h("div", { class: "shares" }, shares.lines.map((/** @type {Line} */ line) => lineCard(line))) : null,
    shares ? h("p", {}, h("small", {}, `${counted(shares.unsure, "unsure cell")} counted apart, ${counted(shares.no_cell, "object")} not a cell and left out; ${shares.counted_already ? `${counted(shares.counted_already, "cell")} of overlapping fields left out as counted already; ` : ""}${number(shares.neither)} without a label and without a call of the model, in no share. `
      + (shares.doubles ? `${counted(shares.doubles, "cell")} may be of two fields that overlap. The model alone counts them once; the other lines count them twice until one of each two is labelled X. ` : "")
      + `Of the labels that count, ${number(shares.blind_labels)} were given blind, and ${number(shares.seen_labels)} with the model in sight. A share is an estimate of this set of images, not a diagnosis.`)) : null,
    h("div", { class: "columns" }, whatIsLeft(item, sign), sample(item, draw), shares ? plot(shares, item) : null, models),
    fields ? fieldsPanel(item, fields) : null,
    signatures.some((each) => each.reopened) ? h("section", { class: "panel" }, h("h2", {}, "Earlier signatures"), signatures.filter((each) => each.reopened).map(signatureCard)) : null);
  document.getElementById("sign")?.addEventListener("click", () => askToSign(item, draw));
  if (busy) setTimeout(() => page(draw), 3000);
}

page(async () => {
  if (boot.case) await draw();
});
