/** The gallery: all cells of a case, and the keys that label them. */

import { get } from "./api.js";
import { CellView } from "./cell.js";
import { ask, askText } from "./dialogs.js";
import { announce, fill, h } from "./dom.js";
import { filtered, ordered } from "./filters.js";
import { boot, main, may, nameCase, outbox, page, showFault } from "./frame.js";
import { Grid } from "./grid.js";
import { actionOf, showKeys } from "./keys.js";
import { Panels } from "./panels.js";
import { Review, counting } from "./review.js";
import { States } from "./states.js";
import { counted, LABELS, probability } from "./words.js";

/** @typedef {import("./types.js").Case} Case */
/** @typedef {import("./types.js").Label} Label */
/** @typedef {import("./review.js").Cell} Cell */

const SIZES = [64, 80, 96, 112, 128, 160, 192, 224, 256];
const ASK_ABOVE = 50;
const COUNTS_AFTER = 150; // milliseconds
const LOOKS = "blastscope.looks";

/** @returns {{size: number, fit: boolean, moveOn: boolean}} */
function looks() {
  try {
    return { size: 96, fit: false, moveOn: true, ...JSON.parse(localStorage.getItem(LOOKS) ?? "{}") };
  } catch {
    return { size: 96, fit: false, moveOn: true };
  }
}

export class Gallery {
  /** @param {Case} item @param {URLSearchParams} query */
  constructor(item, query) {
    this.item = item;
    this.looks = looks();
    const reading = Number(query.get("reading")) || null;
    this.review = new Review(item.id, outbox, reading);
    this.adjudicating = query.get("adjudicate") === "1" && may.sign;
    this.review.adjudicating = this.adjudicating;
    /** @type {Set<string>} */
    this.filters = new Set((query.get("filter") ?? "").split(",").filter(Boolean));
    this.order = query.get("order") ?? "";
    this.split = false;
    this.started = false;
    this.hidden = sessionStorage.getItem(`blastscope.hidden.${item.id}`) === "1";
    /** Cells shown, in order; stays as it is while labels change, so that nothing jumps. @type {Cell[][]} */
    this.lists = [[]];
    /** @type {Map<number, [number, number]>} where each cell is: list, index */
    this.places = new Map();
    /** @type {Grid[]} */
    this.grids = [];
    this.focused = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.later = undefined;
    this.turn = 0;
    /** Whether the reader has begun to work on this page. */
    this.touched = false;
    this.panels = new Panels(this);
    this.states = new States(this);
    this.view = new CellView(this);
    this.review.shown = () => ({
      model: this.modelShown, overlay: this.view.overlayShown, others: this.adjudicating,
      order: this.order, filter: [...this.filters].join(","),
    });
    this.review.onchange = (cells) => this.changed(cells);
  }

  get modelShown() {
    return !this.review.blind && !this.hidden;
  }

  get readOnly() {
    return this.item.state === "signed" || !may.read;
  }

  get grid() {
    return this.grids[this.focused];
  }

  get list() {
    return this.lists[this.focused];
  }

  async start() {
    await this.review.load();
    if (!this.order || (!this.modelShown && this.modelOrder)) this.order = this.modelShown ? "needs" : "random";
    this.middle = h("div", { class: "middle" });
    fill(main, h("h1", { class: "visually-hidden" }, `Cells of ${this.item.identifier}`), this.panels.tools, this.states.strips,
      h("div", { class: "review" }, this.panels.filters, this.middle, this.panels.counts));
    this.arrange();
    this.grid?.box.focus({ preventScroll: true });
    this.view.openFromAddress();
    this.started = true;
    this.remember();
    window.addEventListener("popstate", () => this.view.openFromAddress());
    this.states.watch();
    this.fetchSheets();
  }

  get modelOrder() {
    return ["needs", "p", "-p"].includes(this.order) || this.order.startsWith("similar");
  }

  /** Lay out one grid or two, and fill them. */
  arrange() {
    for (const grid of this.grids) grid.dispose();
    const titles = this.split ? ["Called ALL", "Called normal"] : ["Cells"];
    this.grids = titles.map((title, which) => {
      const box = h("div", { class: "grid", "aria-label": title });
      const grid = new Grid(box, (index) => this.tile(this.lists[which][index]), {
        onmove: () => this.moved(which),
        onselect: () => this.panels.current(),
        onopen: (index) => this.view.open(this.lists[which][index].n),
      }, `tile-${which}-`);
      grid.size = this.looks.size;
      box.addEventListener("keydown", (event) => this.key(event));
      box.addEventListener("focus", () => this.moved(which));
      return grid;
    });
    this.focused = 0;
    this.states.over = h("div", { class: "over-grid", hidden: true });
    fill(/** @type {HTMLElement} */ (this.middle),
      this.split
        ? h("div", { class: "split" }, this.grids.map((grid, which) => h("div", {},
          h("h2", { id: `column-${which}` }, titles[which]), grid.box)))
        : this.grids[0].box,
      this.states.over);
    this.relist();
  }

  /** Choose and order the cells anew. @param {number} [keep] the cell to stay on */
  async relist(keep) {
    this.states.stale = false;
    let cells = filtered(this.review, this.filters);
    if (this.order.startsWith("similar:")) {
      try {
        const answer = await get(`/api/v1/cases/${this.item.id}/cells/find?order=${encodeURIComponent(this.order)}`);
        const rank = new Map(answer.cells.map((/** @type {number} */ n, /** @type {number} */ index) => [n, index]));
        cells = [...cells].sort((a, b) => (rank.get(a.n) ?? 1e9) - (rank.get(b.n) ?? 1e9));
      } catch (fault) {
        this.states.say(fault instanceof Error ? fault.message : String(fault), "bad");
        this.order = "needs";
        cells = ordered(cells, this.order);
      }
    } else cells = ordered(cells, this.order);
    const call = (/** @type {Cell} */ cell) => counting(cell) ?? cell.called;
    this.lists = this.split ? [cells.filter((cell) => call(cell) === "A"), cells.filter((cell) => call(cell) === "N")] : [cells];
    this.places.clear();
    this.lists.forEach((list, which) => list.forEach((cell, index) => this.places.set(cell.n, [which, index])));
    if (this.split) this.#nameColumns(cells.length);
    this.lists.forEach((list, which) => {
      const [at, index] = (keep !== undefined && this.places.get(keep)) || [0, 0];
      this.grids[which].reset(list.length, list.length ? (at === which ? index : 0) : -1);
    });
    this.panels.draw();
    this.states.draw();
    this.remember();
  }

  /** @param {number} all cells that match the filter */
  #nameColumns(all) {
    const [ones, others] = this.lists.map((list) => list.length);
    const apart = all - ones - others;
    document.querySelectorAll(".split h2").forEach((head, which) => {
      head.textContent = which === 0 ? `Called ALL: ${ones}` : `Called normal: ${others}${apart ? `; ${apart} unsure, not a cell or not scored are not shown` : ""}`;
    });
  }

  /** Keep filters and order in the address, so that a reload or a link shows the same. */
  remember() {
    if (this.view.dialog || !this.started) return;
    const query = new URLSearchParams();
    if (this.filters.size) query.set("filter", [...this.filters].join(","));
    query.set("order", this.order);
    if (this.review.reading) query.set("reading", String(this.review.reading));
    if (this.adjudicating) query.set("adjudicate", "1");
    history.replaceState(history.state, "", `/cases/${this.item.id}/gallery?${query}`);
    localStorage.setItem(LOOKS, JSON.stringify(this.looks));
  }

  /** @param {Cell} cell @returns {import("./grid.js").Tile} */
  tile(cell) {
    const said = this.modelShown && cell.scored && typeof cell.p === "number";
    const label = (this.adjudicating ? cell.final : counting(cell)) ?? "";
    const both = this.adjudicating ? ` ${cell.label ?? "–"}/${cell.other ?? "–"}` : cell.final ? ` (${cell.label ?? "–"})` : "";
    return {
      ...this.review.place(cell.n, this.looks.fit ? "fit" : "scale"),
      label,
      mark: `${both}${cell.flag ? " ⚑" : ""}${cell.note ? " ✎" : ""}`,
      model: said ? `${cell.called ?? "?"} ${probability(cell.p)}${cell.refer ? " R" : ""}${cell.ood ? " O" : ""}`
        : this.modelShown && cell.problem ? "unusable" : "",
      tone: !said || !cell.called || cell.refer ? "quiet" : cell.called === "A" ? "all" : "hem",
      name: this.words(cell),
    };
  }

  /** What a screen reader says of a cell. @param {Cell} cell */
  words(cell) {
    const parts = [`Cell ${cell.n}`];
    if (this.modelShown && typeof cell.p === "number")
      parts.push(`, model: ${cell.called ? LABELS[cell.called] : "no call,"} ${probability(cell.p)}${cell.refer ? ", referred" : ""}${cell.ood ? ", out of distribution" : ""}`);
    if (cell.problem) parts.push(`, not usable: ${cell.problem}`);
    parts.push(`; yours: ${cell.label ? LABELS[cell.label] : "none"}`);
    if (this.adjudicating) parts.push(`, other reader: ${cell.other ? LABELS[cell.other] : "none"}, final: ${cell.final ? LABELS[cell.final] : "none"}`);
    else if (cell.final) parts.push(`, decided: ${LABELS[cell.final]}`);
    if (cell.flag) parts.push(", flagged");
    if (cell.note) parts.push(", with a note");
    return parts.join("");
  }

  /** @param {number[]} numbers cells that changed */
  changed(numbers) {
    /** @type {number[][]} */
    const indices = this.grids.map(() => []);
    for (const n of numbers) {
      const place = this.places.get(n);
      if (place) indices[place[0]].push(place[1]);
    }
    this.grids.forEach((grid, which) => grid.update(indices[which]));
    this.view.changed(numbers);
    // Counts follow a little later, so that a key's own paint does not wait for them.
    this.later ??= setTimeout(() => {
      this.later = undefined;
      this.panels.recount();
      this.states.draw();
    }, COUNTS_AFTER);
  }

  /** @param {number} which */
  moved(which) {
    this.focused = which;
    this.panels.current();
  }

  /** The cell that has the focus. @returns {Cell | undefined} */
  get active() {
    return this.view.dialog ? this.review.byNumber.get(this.view.n) : this.list[this.grid.active];
  }

  /** @returns {number[]} cells that a key acts on */
  targets() {
    if (this.view.dialog) return [this.view.n];
    return this.grid.targets().map((index) => this.list[index].n);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    this.touched = true;
    if (this.grid.key(event)) {
      event.preventDefault();
      return;
    }
    if (event.key === "Enter" && this.active) {
      event.preventDefault();
      this.view.open(this.active.n);
    } else if (event.key === "Escape") this.grid.clearSelection();
    else {
      const action = actionOf(event);
      if (!action) return;
      event.preventDefault();
      this.act(action);
    }
  }

  /** @param {string} action a name in keys.js */
  async act(action) {
    if (action in LABELS) await this.label(/** @type {"A"} */ (action));
    else if (action === "undo") this.unwind("undo");
    else if (action === "redo") this.unwind("redo");
    else if (action === "next") this.next();
    else if (action === "flag") await this.flag();
    else if (action === "note") await this.note();
    else if (action === "scale") this.setFit(!this.looks.fit);
    else if (action === "larger") this.setSize(1);
    else if (action === "smaller") this.setSize(-1);
    else if (action === "blind") await this.toggleModel();
    else if (action === "overlay") this.view.toggleOverlay();
    else if (action === "help" && (await showKeys())) this.panels.draw();
  }

  /** @returns {boolean} whether labels may change; says why not */
  allowed() {
    if (!this.readOnly) return true;
    const why = may.read ? "This case is signed: reopen it on its page to change labels." : "You may look, but not label: ask an administrator for the role of a reader.";
    this.states.say(why, "bad");
    announce(why);
    return false;
  }

  /** @param {number[]} cells @param {string} what */
  async many(cells, what) {
    if (cells.length <= ASK_ABOVE) return true;
    return Boolean(await ask(`${what} ${counted(cells.length, "cell")}?`,
      h("p", {}, "This changes many cells at once. You can undo it with Z."), { ok: `${what} ${cells.length}` }));
  }

  /** @param {"A" | "N" | "U" | "X" | null} label */
  async label(label) {
    const cells = this.targets();
    if (!cells.length || !this.allowed() || !(await this.many(cells, label ? `Label as ${LABELS[label]}:` : "Take the label from"))) return;
    this.review.act(this.adjudicating ? "adjudicate" : "label", cells, label);
    announce(cells.length === 1 ? `Cell ${cells[0]}: ${label ? LABELS[label] : "no label"}` : `${cells.length} cells: ${label ? LABELS[label] : "no label"}`);
    if (!this.looks.moveOn) return;
    if (this.view.dialog) this.view.walk(1);
    else this.grid.move((this.grid.selected.size ? Math.max(...this.grid.targets()) : this.grid.active) + 1);
  }

  /** @param {"undo" | "redo"} which */
  unwind(which) {
    if (!this.allowed()) return;
    if (which === "undo" ? !this.review.canUndo : !this.review.canRedo) {
      this.states.say(which === "undo" ? "There is nothing of yours to undo." : "There is nothing to redo.", "plain");
      return;
    }
    const cells = this.review[which]();
    if (cells.length) this.reveal(cells[0]);
    announce(which === "undo" ? "Undone" : "Done again");
  }

  /** Move to a cell if it is shown. @param {number} n */
  reveal(n) {
    const place = this.places.get(n);
    if (!place || this.view.dialog) return;
    this.focused = place[0];
    this.grid.move(place[1]);
  }

  next() {
    const { list } = this;
    const from = this.view.dialog ? (this.places.get(this.view.n)?.[1] ?? 0) : this.grid.active;
    for (let step = 1; step <= list.length; step++) {
      const index = (from + step) % list.length;
      if (counting(list[index])) continue;
      this.grid.move(index);
      if (this.view.dialog) this.view.open(list[index].n);
      return;
    }
    this.states.say("Every cell in this list has a label.", "good");
  }

  async flag() {
    const cells = this.targets();
    if (!cells.length || !this.allowed()) return;
    const on = !cells.every((n) => this.review.byNumber.get(n)?.flag);
    if (await this.many(cells, on ? "Flag" : "Take the flag from")) this.review.act("flag", cells, on);
  }

  async note() {
    const cells = this.targets();
    if (!cells.length || !this.allowed()) return;
    const first = this.review.byNumber.get(cells[0]);
    const text = await askText(cells.length === 1 ? `Note on cell ${cells[0]}` : `Note on ${counted(cells.length, "cell")}`,
      "Note", { value: first?.note ?? "", hint: "No names or dates of birth. Enter saves, Shift + Enter starts a line." });
    if (text !== null) this.review.act("note", cells, text || null);
  }

  /** @param {boolean} fit */
  setFit(fit) {
    this.looks.fit = fit;
    for (const grid of this.grids) grid.refresh();
    this.panels.draw();
    this.remember();
    announce(fit ? "Each cell fits its tile" : "All cells are to one scale");
    this.fetchSheets();
  }

  /** @param {number} step */
  setSize(step) {
    const index = Math.max(0, Math.min(SIZES.length - 1, SIZES.indexOf(this.looks.size) + step));
    this.looks.size = SIZES[index] ?? 96;
    for (const grid of this.grids) grid.resize(this.looks.size);
    this.panels.draw();
    this.remember();
  }

  async toggleModel() {
    if (this.review.blind) {
      if (!this.item.blind_first || this.review.reading) {
        this.states.say("This reading is blind: the model and other readers stay hidden until it is finished.", "plain");
        return;
      }
      const sure = await ask("Show what the model says?", h("p", {},
        "This is recorded and can't be taken back: your labels from here on count as made with the model in sight."), { ok: "Show the model" });
      if (!sure) return;
      this.review.reveal();
      document.addEventListener("saved", (event) => {
        if (/** @type {CustomEvent} */ (event).detail.state === "saved") location.reload();
      });
      return;
    }
    this.hidden = !this.hidden;
    sessionStorage.setItem(`blastscope.hidden.${this.item.id}`, this.hidden ? "1" : "0");
    this.view.modelToggled();
    this.panels.refreshShares();
    if (this.hidden) {
      for (const name of ["referred", "ood", "near", "disagrees"]) this.filters.delete(name);
      if (this.modelOrder) this.order = "random";
      if (this.split) {
        this.split = false;
        this.arrange();
        return;
      }
    }
    await this.relist(this.active?.n);
    announce(this.hidden ? "The model is hidden" : "The model is shown");
  }

  /** Load the contact sheets ahead, one after the other, so that a jump finds them. */
  async fetchSheets() {
    const turn = ++this.turn;
    /** @type {HTMLImageElement[]} */
    const kept = [];
    for (const sheet of this.review.sheets) {
      const address = sheet?.[this.looks.fit ? "fit" : "scale"];
      if (!address) continue;
      const image = new Image();
      image.src = address;
      await image.decode().catch(() => null);
      if (this.turn !== turn) return;
      kept.push(image);
    }
    this.kept = kept;
  }
}

page(async () => {
  const item = /** @type {Case} */ (await get(`/api/v1/cases/${boot.case}`));
  nameCase(item);
  const gallery = new Gallery(item, new URLSearchParams(location.search));
  outbox.onsaved = (answer, sent) => {
    const { reading } = sent[0].event;
    if (sent[0].case === item.id && (reading ?? gallery.review.shownReading) === gallery.review.shownReading) {
      const changed = gallery.review.settle(answer);
      if (changed.length && ["undo", "redo"].includes(sent[0].event.kind)) gallery.reveal(changed[0]);
    }
    gallery.panels.refreshShares();
  };
  outbox.onrefused = (refusal) => gallery.states.refused(refusal);
  await gallery.start();
}).catch(showFault);
