/**
 * The cells of a case as one reader sees them: labels, flags and notes change here at once and are
 * sent as events; what the server answers is what counts.
 */

import { get } from "./api.js";

/** @typedef {import("./types.js").Counts} Counts */
/** @typedef {import("./types.js").Label} Label */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./outbox.js").Entry} Entry */

/**
 * A cell; what the model says is missing for a blind reader.
 * @typedef {object} Cell
 * @property {number} n
 * @property {Label} label
 * @property {boolean} flag
 * @property {string | null} note
 * @property {number | null} [p]
 * @property {"A" | "N" | null} [called]
 * @property {boolean} [refer]
 * @property {boolean} [ood]
 * @property {number} [ood_score]
 * @property {number} [needs]
 * @property {string} [subject]
 * @property {string} [file]
 * @property {number} random
 * @property {boolean} in_sample
 * @property {boolean} scored
 * @property {string | null} problem
 * @property {number | null} [double_of] the cell of another field that it may be
 * @property {Label} [other]
 * @property {Label} [final]
 */
/** @typedef {{label: Label, flag: boolean, note: string | null, final?: Label}} Marks */
/** @typedef {{scale: string, fit: string, first: number, count: number} | null} Sheet */

/** The label that counts: where a signer decided, the final one. @param {Cell} cell @returns {Label} */
export const counting = (cell) => cell.final ?? cell.label;

/** Distance from the threshold within which a probability is near it. */
const NEAR = 0.1;

export class Review {
  /**
   * @param {number} item the case
   * @param {Outbox} outbox
   * @param {number | null} reading
   */
  constructor(item, outbox, reading = null) {
    this.case = item;
    this.outbox = outbox;
    this.reading = reading;
    /** The reading that is shown. What is done here is of it, also if the person has another by then. @type {number | null} */
    this.shownReading = reading;
    /** @type {Cell[]} */
    this.cells = [];
    /** @type {Map<number, Cell>} */
    this.byNumber = new Map();
    /** @type {Sheet[]} */
    this.sheets = [];
    this.tile = 128;
    this.perRow = 10;
    this.perSheet = 100;
    this.threshold = 0.5;
    this.blind = true;
    this.rev = 0;
    /** Of the case, which changes as cells come and are scored; a blind reader gets none. @type {number | undefined} */
    this.version = undefined;
    this.canUndo = false;
    this.canRedo = false;
    this.adjudicating = false;
    /** How often the reader did something on this page. */
    this.acts = 0;
    /** What the reader can see now; stored with every event. @type {() => object} */
    this.shown = () => ({});
    /** @type {(cells: number[]) => void} */
    this.onchange = () => {};
    /** Cells as they were before each action of this page. @type {Map<number, Marks>[]} */
    this.done = [];
    /** @type {Map<number, Marks>[]} */
    this.undone = [];
  }

  /** @param {string} [since] @returns {`/api/v1/cases/${number}/cells?${string}`} */
  address(since = "") {
    const reading = this.shownReading ? `reading=${this.shownReading}` : "";
    return `/api/v1/cases/${this.case}/cells?${reading}${since}`;
  }

  /** Load every cell. */
  async load() {
    const answer = await get(this.address());
    this.cells = [];
    this.byNumber.clear();
    this.#take(answer);
    this.#replay();
  }

  /** Take what changed since: other readers' work, and cells scored meanwhile. */
  async poll() {
    const { acts } = this;
    const answer = await get(this.address(`&since=${this.rev}${this.version === undefined ? "" : `&version=${this.version}`}`));
    if (acts !== this.acts) return []; // it may be older than what was done meanwhile: the next one is not
    const changed = this.#take(answer);
    if (changed.length) this.onchange(changed);
    return changed;
  }

  /** @param {Api.CellsJson} answer @returns {number[]} */
  #take(answer) {
    this.rev = answer.rev;
    this.shownReading = answer.reading;
    this.version = answer.version;
    this.blind = answer.blind;
    this.threshold = answer.threshold ?? 0.5;
    this.tile = answer.tile;
    this.perRow = answer.per_row;
    this.perSheet = answer.per_sheet;
    this.sheets = answer.sheets;
    this.canUndo = answer.undo;
    this.canRedo = answer.redo;
    const pending = this.outbox.pending(this.case);
    const names = /** @type {(keyof Api.ColumnsJson)[]} */ (Object.keys(answer.columns));
    const numbers = answer.columns.n ?? [];
    numbers.forEach((/** @type {number} */ n, /** @type {number} */ index) => {
      let cell = this.byNumber.get(n);
      if (!cell) {
        cell = /** @type {Cell} */ ({ n });
        this.byNumber.set(n, cell);
        this.cells.push(cell);
      }
      for (const name of names) {
        const column = answer.columns[name];
        if (!column) continue;
        if (pending.has(n) && (name === "label" || name === "flag" || name === "note") && name in cell) continue;
        /** @type {any} */ (cell)[name] = column[index];
      }
    });
    this.cells.sort((a, b) => a.n - b.n);
    return numbers;
  }

  /** Show again what an earlier page could not send yet. */
  #replay() {
    for (const { case: item, event } of this.outbox.entries)
      if (item === this.case && (event.reading ?? this.shownReading) === this.shownReading) for (const n of event.cells ?? []) this.#apply(n, event.kind, event.value);
  }

  /**
   * @param {number} n
   * @param {string} kind
   * @param {any} value
   */
  #apply(n, kind, value) {
    const cell = this.byNumber.get(n);
    if (!cell) return;
    if (kind === "label") cell.label = value;
    else if (kind === "flag") cell.flag = value;
    else if (kind === "note") cell.note = value;
    else if (kind === "adjudicate") cell.final = value;
  }

  /** @param {number[]} numbers @returns {Map<number, Marks>} */
  #marks(numbers) {
    return new Map(numbers.flatMap((n) => {
      const cell = this.byNumber.get(n);
      return cell ? [[n, { label: cell.label, flag: cell.flag, note: cell.note, final: cell.final }]] : [];
    }));
  }

  /** @param {Map<number, Marks>} marks */
  #restore(marks) {
    for (const [n, before] of marks) Object.assign(this.byNumber.get(n) ?? {}, before);
    this.onchange([...marks.keys()]);
  }

  /**
   * @param {"label" | "flag" | "note" | "adjudicate"} kind
   * @param {number[]} numbers
   * @param {any} value
   */
  act(kind, numbers, value) {
    if (!numbers.length) return;
    this.done.push(this.#marks(numbers));
    this.undone = [];
    for (const n of numbers) this.#apply(n, kind, value);
    this.canUndo = true;
    this.canRedo = false;
    this.#add({ kind, cells: numbers, value });
    this.onchange(numbers);
  }

  /** @param {any} content */
  #add(content) {
    this.acts += 1;
    return this.outbox.add(this.case, { ...content, shown: this.shown(), ...(this.shownReading ? { reading: this.shownReading } : {}) });
  }

  /** @returns {number[]} the cells that changed at once; after a reload the server says which */
  undo() {
    return this.#unwind(this.done, this.undone, "undo");
  }

  /** @returns {number[]} */
  redo() {
    return this.#unwind(this.undone, this.done, "redo");
  }

  /**
   * @param {Map<number, Marks>[]} from
   * @param {Map<number, Marks>[]} to
   * @param {"undo" | "redo"} kind
   */
  #unwind(from, to, kind) {
    const marks = from.pop();
    const cells = [...(marks?.keys() ?? [])];
    if (marks) {
      to.push(this.#marks(cells));
      this.#restore(marks);
    }
    this.#add({ kind });
    if (kind === "undo") this.canRedo = true;
    else this.canUndo = true;
    return cells;
  }

  /** From here on the model's output is in sight; recorded, and not taken back. */
  reveal() {
    this.#add({ kind: "reveal" });
  }

  /**
   * Take the server's word for what changed.
   * @param {Api.StoredEventsJson} answer of a POST of events
   */
  settle(answer) {
    const pending = this.outbox.pending(this.case);
    const changed = [];
    for (const [key, marks] of Object.entries(answer.changed ?? {})) {
      const cell = this.byNumber.get(Number(key));
      if (!cell || pending.has(cell.n)) continue;
      const same = Object.entries(marks).every(([name, value]) => /** @type {any} */ (cell)[name] === value);
      if (same) continue;
      Object.assign(cell, marks);
      changed.push(cell.n);
    }
    if (!this.outbox.entries.some((entry) => entry.case === this.case)) {
      this.canUndo = answer.undo;
      this.canRedo = answer.redo;
    }
    if (changed.length) this.onchange(changed);
    return changed;
  }

  /** @param {Cell} cell */
  near(cell) {
    return typeof cell.p === "number" && Math.abs(cell.p - this.threshold) < NEAR;
  }

  /** @param {Cell} cell */
  disagrees(cell) {
    const label = counting(cell);
    return (label === "A" || label === "N") && Boolean(cell.called) && label !== cell.called;
  }

  /** Where a cell's thumbnail lies. @param {number} n @param {"scale" | "fit"} kind */
  place(n, kind) {
    const sheet = this.sheets[Math.floor((n - 1) / this.perSheet)];
    const tile = (n - 1) % this.perSheet;
    return { sheet: sheet?.[kind] ?? "", x: (tile % this.perRow) * this.tile, y: Math.floor(tile / this.perRow) * this.tile, size: this.tile };
  }
}
