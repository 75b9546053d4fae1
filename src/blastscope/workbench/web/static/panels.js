/** Around the gallery: tools above, filters on the left, the cell and the counts on the right. */

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { countsOf, FILTERS, ORDERS } from "./filters.js";
import { keyName, showKeys } from "./keys.js";
import { lineBrief } from "./lines.js";
import { counted, LABELS, number, probability } from "./words.js";

/** @typedef {import("./gallery.js").Gallery} Gallery */

const GROUPS = [["label", "Your label"], ["model", "The model"], ["mark", "Marks"]];

export class Panels {
  /** @param {Gallery} gallery */
  constructor(gallery) {
    this.gallery = gallery;
    this.tools = h("div", { class: "tools", role: "group", "aria-label": "View" });
    this.filters = h("section", { class: "filters", "aria-label": "Filters" });
    this.counts = h("section", { class: "counts", "aria-label": "Cell and counts", tabindex: 0 });
    this.cell = h("div", { class: "current" });
    this.numbers = h("div");
    this.shares = h("div");
    this.buttons = h("div", { class: "keys-row" });
    this.legend = h("div");
    /** Where the number of each filter stands. @type {Map<string, HTMLElement>} */
    this.places = new Map();
    this.appeared = "";
    this.drawn = "";
  }

  /** Draw all of it again. */
  draw() {
    const focus = document.activeElement?.getAttribute("data-tool");
    const counts = countsOf(this.gallery.review);
    this.#tools();
    this.#filters(counts);
    this.#counts(counts);
    this.current();
    if (focus) /** @type {HTMLElement | null} */ (document.querySelector(`[data-tool="${focus}"]`))?.focus();
  }

  /** Bring the numbers up to date, and nothing else. */
  recount() {
    const counts = countsOf(this.gallery.review);
    for (const [name, place] of this.places) place.textContent = number(name ? counts[name] : this.gallery.review.cells.length - counts.unusable);
    if (this.appearing(counts) !== this.appeared) this.draw();
    else {
      this.#labels(counts);
      this.current();
    }
  }

  /** Which filters are shown only if they hold something. @param {Record<string, number>} counts */
  appearing(counts) {
    return `${counts.unusable > 0} ${counts.doubles > 0} ${counts.disagreements > 0}`;
  }

  #tools() {
    const { gallery } = this;
    const { looks } = gallery;
    const key = (/** @type {string} */ name) => (keyName(name) ? ` (${keyName(name)})` : "");
    const orders = ORDERS.filter((order) => gallery.modelShown || !order.model);
    if (gallery.order.startsWith("similar:")) orders.push({ name: gallery.order, words: `Like cell ${gallery.order.slice(8)} first`, model: true });
    const select = h("select", { "data-tool": "order", onchange: () => {
      gallery.order = select.value;
      gallery.relist(gallery.active?.n);
    } }, orders.map(({ name, words }) => h("option", { value: name }, words)));
    select.value = gallery.order;
    const button = (/** @type {string} */ name, /** @type {string} */ words, /** @type {boolean | null} */ on, /** @type {() => void} */ act) =>
      h("button", { type: "button", "data-tool": name, "aria-pressed": on === null ? null : String(on), onclick: act }, words);
    fill(this.tools,
      h("label", {}, "Order", select),
      h("span", { class: "group", role: "group", "aria-label": "Size of the tiles" },
        button("smaller", "−", null, () => gallery.setSize(-1)),
        h("span", {}, `${looks.size} px`),
        button("larger", "+", null, () => gallery.setSize(1))),
      button("fit", `Fit each cell${key("scale")}`, looks.fit, () => gallery.setFit(!looks.fit)),
      gallery.modelShown && button("split", "Two columns", gallery.split, () => {
        gallery.split = !gallery.split;
        gallery.arrange();
      }),
      button("model", gallery.review.blind ? "Show the model…" : `Hide the model${key("blind")}`, gallery.review.blind ? null : gallery.hidden, () => gallery.toggleModel()),
      button("move", "Move on after a label", looks.moveOn, () => {
        looks.moveOn = !looks.moveOn;
        gallery.remember();
        this.draw();
      }),
      h("span", { class: "end" },
        button("undo", `Undo${key("undo")}`, null, () => gallery.act("undo")),
        button("redo", "Redo", null, () => gallery.act("redo")),
        button("help", `Keys${key("help")}`, null, async () => {
          if (await showKeys()) this.draw();
        })));
  }

  /** @param {Record<string, number>} counts */
  #filters(counts) {
    const { gallery } = this;
    this.appeared = this.appearing(counts);
    this.places.clear();
    const button = (/** @type {string} */ name, /** @type {string} */ words, /** @type {number} */ count, /** @type {boolean} */ on) => {
      const place = h("span", {}, number(count));
      this.places.set(name, place);
      return h("button", { type: "button", "data-tool": `filter-${name}`, "aria-pressed": String(on), onclick: () => this.#choose(name) },
        h("span", {}, words), place);
    };
    const shown = FILTERS.filter(({ name, group }) => (group !== "model" || gallery.modelShown)
      && (name !== "sample" || gallery.item.sample) && (!["unusable", "doubles"].includes(name) || counts[name] || gallery.filters.has(name)) && (name !== "disagreements" || counts[name] || gallery.adjudicating));
    fill(this.filters,
      h("h2", {}, "Show"), button("", "All cells", gallery.review.cells.length - counts.unusable, gallery.filters.size === 0),
      GROUPS.map(([group, name]) => {
        const words = group === "label" && this.decided ? "Label, as decided" : name;
        const own = shown.filter((filter) => filter.group === group);
        return own.length ? [h("h2", {}, words), ...own.map(({ name, words: text }) => button(name, text, counts[name], gallery.filters.has(name)))] : [];
      }).flat());
  }

  /** Whether a signer decided on a cell. */
  get decided() {
    return this.gallery.review.cells.some((cell) => cell.final);
  }

  /** @param {string} name */
  #choose(name) {
    const { filters } = this.gallery;
    const group = FILTERS.find((filter) => filter.name === name)?.group;
    if (!name) filters.clear();
    else if (!filters.delete(name)) {
      if (group === "label") for (const filter of FILTERS) if (filter.group === "label") filters.delete(filter.name);
      filters.add(name);
    }
    this.gallery.relist();
  }

  /** @param {Record<string, number>} counts */
  #labels(counts) {
    const row = (/** @type {string} */ words, /** @type {number} */ count) => [h("dt", {}, words), h("dd", {}, number(count))];
    fill(this.numbers, h("h2", {}, this.decided ? "Labels, as decided" : this.gallery.adjudicating ? "Labels of reading 1" : "Your labels"), h("dl", {},
      row("ALL", counts.A), row("Normal", counts.N), row("Unsure", counts.U), row("Not a cell", counts.X),
      row("No label yet", counts.unlabelled)));
  }

  /** @param {Record<string, number>} counts */
  #counts(counts) {
    const { gallery } = this;
    this.#labels(counts);
    fill(this.buttons, Object.entries(LABELS).map(([name, words]) =>
      h("button", { type: "button", disabled: gallery.readOnly, onclick: () => {
        gallery.act(name);
        gallery.grid.box.focus({ preventScroll: true });
      } }, h("b", {}, keyName(name) || name), words)));
    fill(this.legend, h("h2", {}, "On a tile"), h("small", {}, "Top left your label, ⚑ a flag, ✎ a note. ",
      this.decided ? "Where a signer decided, that label counts and stands there; the one in brackets is the reading's. " : "",
      gallery.modelShown ? "Bottom right the model: A (ALL), N (normal) or ? (no call) and the probability of ALL; R referred to an expert, O out of distribution." : ""));
    if (!this.counts.childElementCount) {
      fill(this.counts, h("h2", {}, "Cell"), this.cell, this.buttons, this.numbers, this.shares, this.legend);
      this.refreshShares();
    }
  }

  /** Say what the active cell is and how many are selected. */
  current() {
    const { gallery } = this;
    const cell = gallery.active;
    const selected = gallery.grid?.selected.size ?? 0;
    if (!cell) {
      fill(this.cell, h("p", { class: "quiet" }, "No cell"));
      return;
    }
    const yours = cell.label ? LABELS[cell.label] : "none";
    fill(this.cell,
      h("div", {}, h("strong", {}, `Cell ${cell.n}`), selected ? ` · ${counted(selected, "cell")} selected` : ""),
      gallery.modelShown && h("div", {}, "Model: ", cell.problem ? `not usable, ${cell.problem}` : typeof cell.p === "number"
        ? [h("span", { class: "label", "data-label": cell.called ?? "" }, cell.called ? LABELS[cell.called] : "no call,"), ` ${probability(cell.p)}`,
          cell.refer ? ", referred" : "", cell.ood ? ", out of distribution" : ""] : "not scored yet"),
      h("div", {}, "Yours: ", h("span", { class: "label", "data-label": cell.label ?? "" }, yours)),
      gallery.adjudicating && h("div", {}, `Other reader: ${cell.other ? LABELS[cell.other] : "none"}; final: ${cell.final ? LABELS[cell.final] : "none"}`),
      !gallery.adjudicating && cell.final && h("div", {}, "Decided by a signer: ", h("span", { class: "label", "data-label": cell.final }, LABELS[cell.final])),
      cell.note && h("div", {}, `Note: ${cell.note}`),
      h("div", { class: "quiet" }, cell.subject ? `${cell.subject} · ` : "", "Enter opens it"));
  }

  /** Ask for the shares again, once the reader rests. */
  refreshShares() {
    const { gallery } = this;
    clearTimeout(this.timer);
    if (!gallery.modelShown) { // at once: labels record whether the model was in sight
      this.drawn = "";
      fill(this.shares, h("h2", {}, "Share of blasts"), h("small", {}, "Hidden while the model is hidden."));
      return;
    }
    this.timer = setTimeout(async () => {
      const answer = await get(`/api/v1/cases/${gallery.item.id}/shares`).catch(() => null);
      if (!answer || !gallery.modelShown) return;
      const { agreement } = answer;
      const same = JSON.stringify([answer.lines, agreement]);
      if (same === this.drawn) return;
      this.drawn = same;
      fill(this.shares, h("h2", {}, "Share of blasts"), answer.lines.map(lineBrief),
        agreement?.cells ? [h("h2", {}, "You and the model"), h("div", {}, `same on ${agreement.same} of ${counted(agreement.cells, "cell")}`)] : null);
    }, this.drawn ? 900 : 0);
  }
}
