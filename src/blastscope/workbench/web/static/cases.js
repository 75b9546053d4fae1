/** All cases: where each one is, and what is left to do. */

import { get, post, Refusal } from "./api.js";
import { fill, h, scrolling } from "./dom.js";
import { main, may, page, showFault, signInAgain } from "./frame.js";
import { interval } from "./lines.js";
import { counted, number, share, STATES, stopped, when } from "./words.js";

/** @typedef {import("./types.js").Case} Case */
/** @typedef {import("./types.js").Worker} Worker */

/** @param {Case} item */
function state(item) {
  const { job } = item.progress;
  const why = stopped(job);
  if (why) return h("span", { class: "state", "data-state": "failed" }, `stopped: ${why}`);
  const done = item.state === "scoring" && item.progress.cells ? ` ${number(item.progress.scored)} of ${number(item.progress.cells)}` : "";
  return h("span", { class: "state", "data-state": item.state }, STATES[item.state] + done);
}

/** @param {Case} item */
function shareOf(item) {
  if (item.blind) return h("small", {}, "blind");
  if (!item.share || item.share.share === null) return h("small", {}, item.share?.message ?? "–");
  return [share(item.share.share), " ", h("small", {}, interval(item.share).replace("95 % interval ", "").replace(/:.*/, ""),
    item.share.code === "model" ? ", the model alone" : "", item.share.uncounted ? `; ${number(item.share.uncounted)} not in it` : "")];
}

/** @param {Case} item */
function row(item) {
  const open = h("a", { href: `/cases/${item.id}/gallery` }, item.identifier);
  const line = h("tr", { class: "link", onclick: (/** @type {Event} */ event) => {
    if (!(/** @type {HTMLElement} */ (event.target).closest("a"))) open.click();
  } },
  h("th", { scope: "row" }, open, item.synthetic ? [" ", h("small", {}, "synthetic")] : null),
  h("td", { class: "n" }, number(item.counts.cells), item.counts.unusable ? h("small", {}, `, and ${number(item.counts.unusable)} not usable`) : null),
  h("td", { class: "n" }, number(item.counts.unlabelled)),
  h("td", { class: "n" }, item.counts.referred_left === undefined ? "–" : number(item.counts.referred_left)),
  h("td", {}, shareOf(item)),
  h("td", {}, item.readers.join(", ") || "–"),
  h("td", {}, state(item)),
  h("td", {}, h("a", { href: `/cases/${item.id}`, "aria-label": `Case page of ${item.identifier}` }, "Case")),
  h("td", {}, h("small", {}, when(item.created_at))));
  return line;
}

/** @param {HTMLElement} place */
async function demo(place) {
  try {
    const item = await post("/api/v1/demo");
    location.assign(`/cases/${item.id}/gallery`);
  } catch (fault) {
    showFault(fault, place);
  }
}

function empty() {
  const place = h("div");
  return h("div", { class: "empty" }, h("h1", {}, "No cases yet"), h("p", {}, "Two ways to begin:"),
    h("div", { class: "ways" },
      h("div", { class: "panel" }, h("h2", {}, "Your own cells"), h("p", {}, "Send images of single cells: files, a folder or a zip."),
        h("a", { class: "button primary", href: "/cases/new" }, "New case")),
      h("div", { class: "panel" }, h("h2", {}, "Synthetic cells"), h("p", {}, "Try all of it with 200 cells that a program drew."),
        h("button", { type: "button", onclick: () => demo(place) }, "Open the demo case"))), place);
}

/** @param {Worker} worker @param {() => void} again */
function workerNote(worker, again) {
  if (worker.state !== "stopped") return null;
  const note = h("div", { class: "notice bad", role: "alert" }, h("p", {}, h("strong", {}, "The worker has stopped: "), "no cells are prepared or scored."),
    may.admin || may.read ? h("button", { type: "button", onclick: async () => {
      await post("/api/v1/worker/restart").catch((fault) => showFault(fault, note));
      again();
    } }, "Start it again") : null);
  return note;
}

page(async () => {
  const search = h("input", { type: "search", "aria-label": "Search by identifier (key /)", placeholder: "Search  /" });
  const chosen = h("select", { "aria-label": "State" }, h("option", { value: "" }, "All states"),
    Object.entries(STATES).map(([value, words]) => h("option", { value }, words)));
  const note = h("div");
  const body = h("tbody");
  const none = h("p", { class: "quiet", hidden: true }, "No case matches. ", h("button", { type: "button", class: "link", onclick: () => {
    search.value = "";
    chosen.value = "";
    draw();
  } }, "Show all cases"));
  const count = h("span", { class: "quiet" });
  const list = h("div", {},
    h("div", { class: "head" }, h("h1", {}, "Cases"), count, h("span", { class: "end" }, search, chosen,
      may.read ? h("a", { class: "button primary", href: "/cases/new" }, "New case (C)") : null)),
    note, scrolling("Cases", h("table", { class: "panel" }, h("thead", {}, h("tr", {},
      ["Case", "Cells", "No label", "Referred, no label", "Share of blasts, 95 % interval", "Readers", "State", "", "Begun"].map((name, index) =>
        name ? h("th", { scope: "col", class: index > 0 && index < 4 ? "n" : null }, name) : h("td")))), body)), none);
  /** @type {Case[]} */
  let cases = [];
  let shown = "";

  function draw() {
    const words = search.value.trim().toLowerCase();
    const found = cases.filter((item) => item.identifier.toLowerCase().includes(words) && (!chosen.value || item.state === chosen.value));
    const focus = document.activeElement?.getAttribute("href");
    fill(body, found.map(row));
    if (focus && !document.activeElement?.getAttribute("href"))
      /** @type {HTMLElement | null} */ (body.querySelector(`a[href="${focus}"]`))?.focus();
    count.textContent = counted(found.length, "case");
    none.hidden = found.length > 0;
  }

  async function load() {
    const answer = await get("/api/v1/cases");
    const same = JSON.stringify(answer);
    if (same === shown) return;
    shown = same;
    cases = answer.cases;
    if (!cases.length) fill(main, workerNote(answer.worker, load), empty());
    else {
      if (!list.isConnected) fill(main, list);
      fill(note, workerNote(answer.worker, load));
      draw();
    }
  }

  search.addEventListener("input", draw);
  chosen.addEventListener("change", draw);
  await load();
  /** @type {HTMLElement | null} */ (body.querySelector("a"))?.focus();
  document.addEventListener("keydown", (event) => {
    const typing = /** @type {HTMLElement} */ (event.target).closest("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = [...body.querySelectorAll("tr")];
    const at = rows.findIndex((each) => each.contains(document.activeElement));
    const go = (/** @type {number} */ index) => /** @type {HTMLElement | null} */ (rows[Math.max(0, Math.min(rows.length - 1, index))]?.querySelector("a"))?.focus();
    if (event.key === "ArrowDown" && (!typing || typing === search)) go(at + 1);
    else if (event.key === "ArrowUp" && !typing) go(at - 1);
    else if (event.key === "/" && !typing) search.focus();
    else if (event.key === "Escape" && typing === search) {
      search.value = "";
      draw();
      go(0);
    } else if (event.key.toLowerCase() === "c" && !typing && may.read) location.assign("/cases/new");
    else return;
    event.preventDefault();
  });
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 3000));
    if (!document.hidden) await load().catch((fault) => fault instanceof Refusal && fault.status === 401 && signInAgain());
  }
});
