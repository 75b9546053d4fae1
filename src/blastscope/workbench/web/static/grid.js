/**
 * A listbox of thousands of cells that keeps only the tiles in sight in the page.
 *
 * Tiles are recycled: a tile is one element and one picture, a window on a contact sheet of 100
 * thumbnails. Their places are set through the CSSOM, which the page's policy allows.
 */

import { h } from "./dom.js";

/**
 * What a tile shows.
 * @typedef {object} Tile
 * @property {string} sheet address of the contact sheet
 * @property {number} x left edge of the thumbnail on the sheet, in pixels
 * @property {number} y top edge
 * @property {number} size side of the thumbnail on the sheet, in pixels
 * @property {string} label what the reader called it: A, N, U, X or nothing
 * @property {string} mark flag and note
 * @property {string} model what the model says, or nothing if it is hidden
 * @property {string} tone colour of the model's word: all, hem or quiet
 * @property {string} name what a screen reader says
 */

/** @typedef {{element: HTMLElement, image: HTMLImageElement, index: number, sheet: string}} Slot */

const GAP = 6;
const OVERSCAN = 1;

export class Grid {
  /**
   * @param {HTMLElement} box the scrolling element; becomes the listbox
   * @param {(index: number) => Tile} tile
   * @param {{onmove?: (index: number) => void, onselect?: () => void, onopen?: (index: number) => void}} listeners
   * @param {string} prefix of the tiles' ids
   */
  constructor(box, tile, listeners = {}, prefix = "tile-") {
    this.prefix = prefix;
    this.box = box;
    this.tile = tile;
    this.listeners = listeners;
    this.count = 0;
    this.size = 96;
    this.active = -1;
    this.anchor = -1;
    /** @type {Set<number>} */
    this.selected = new Set();
    /** @type {Slot[]} */
    this.slots = [];
    this.columns = 1;
    this.page = 1;
    // Kept here, because to ask the page would lay it out again at every key.
    this.top = 0;
    this.height = 0;
    this.left = GAP;
    box.tabIndex = 0;
    box.setAttribute("role", "listbox");
    box.setAttribute("aria-multiselectable", "true");
    box.setAttribute("aria-orientation", "horizontal");
    this.space = h("div", { class: "space", role: "presentation" });
    box.replaceChildren(this.space);
    box.addEventListener("scroll", () => {
      this.top = box.scrollTop;
      this.draw();
    }, { passive: true });
    box.addEventListener("mousedown", (event) => this.#press(event));
    box.addEventListener("dblclick", () => this.active >= 0 && this.listeners.onopen?.(this.active));
    this.resized = new ResizeObserver(() => this.layout());
    this.resized.observe(box);
  }

  /** Stop looking: another grid takes this one's place. */
  dispose() {
    this.resized.disconnect();
    this.count = 0;
  }

  /**
   * Show another list of cells from its start.
   * @param {number} count
   * @param {number} [active]
   */
  reset(count, active = count ? 0 : -1) {
    this.count = count;
    this.active = Math.min(active, count - 1);
    this.anchor = this.active;
    this.selected.clear();
    this.layout();
    if (this.active >= 0) this.reveal(this.active);
    else this.#scrollTo(0);
    this.refresh();
  }

  /** @param {number} size side of a tile in CSS pixels */
  resize(size) {
    this.size = size;
    this.layout();
    if (this.active >= 0) this.reveal(this.active);
    this.refresh();
  }

  layout() {
    const step = this.size + GAP;
    const width = this.box.clientWidth - GAP;
    this.columns = Math.max(1, Math.floor(width / step));
    this.height = this.box.clientHeight;
    this.page = Math.max(1, Math.floor(this.height / step));
    this.left = GAP + Math.max(0, Math.floor((width - this.columns * step) / 2));
    const rows = Math.ceil(this.count / this.columns);
    this.space.style.height = `${rows * step + GAP}px`;
    const needed = Math.min(this.count, (this.page + 2 + 2 * OVERSCAN) * this.columns);
    while (this.slots.length < needed) this.slots.push(this.#slot());
    for (const slot of this.slots.splice(needed)) slot.element.remove();
    this.refresh();
  }

  #slot() {
    const image = h("img", { alt: "", draggable: "false", decoding: "sync" });
    const element = h("div", { class: "tile", role: "option", id: `${this.prefix}${this.slots.length}`, hidden: true }, image);
    this.space.append(element);
    return { element, image, index: -1, sheet: "" };
  }

  /** @returns {[number, number]} first index in the page, and the one after the last */
  range() {
    const step = this.size + GAP;
    const first = Math.max(0, Math.floor(this.top / step) - OVERSCAN) * this.columns;
    return [first, Math.min(this.count, first + this.slots.length)];
  }

  /** Bring the tiles in sight up to date with where the grid is scrolled to. */
  draw() {
    const [first, end] = this.range();
    for (let index = first; index < end; index++) {
      const slot = this.slots[index % this.slots.length];
      if (slot.index !== index) this.#place(slot, index);
    }
    if (end - first < this.slots.length)
      for (const slot of this.slots)
        if (slot.index >= end || slot.index < first) {
          slot.index = -1;
          slot.element.hidden = true;
        }
    const shown = this.active >= first && this.active < end;
    if (shown) this.box.setAttribute("aria-activedescendant", `${this.prefix}${this.active % this.slots.length}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  /** Draw every tile again: the cells, their order or their size changed. */
  refresh() {
    for (const slot of this.slots) slot.index = -1;
    this.draw();
  }

  /** @param {Iterable<number>} indices whose labels changed */
  update(indices) {
    const [first, end] = this.range();
    for (const index of indices) {
      if (index < first || index >= end) continue;
      const slot = this.slots[index % this.slots.length];
      if (slot.index === index) this.#describe(slot, this.tile(index));
    }
  }

  /**
   * @param {Slot} slot
   * @param {number} index
   */
  #place(slot, index) {
    const tile = this.tile(index);
    const step = this.size + GAP;
    const { element, image } = slot;
    slot.index = index;
    element.hidden = false;
    element.style.transform =
      `translate(${this.left + (index % this.columns) * step}px, ${GAP + Math.floor(index / this.columns) * step}px)`;
    element.style.width = element.style.height = `${this.size}px`;
    if (slot.sheet !== tile.sheet) {
      image.src = tile.sheet;
      slot.sheet = tile.sheet;
    }
    const zoom = this.size / tile.size;
    image.style.width = image.style.height = `${tile.size}px`;
    image.style.objectPosition = `${-tile.x}px ${-tile.y}px`;
    image.style.transform = `scale(${zoom})`;
    element.setAttribute("aria-setsize", String(this.count));
    element.setAttribute("aria-posinset", String(index + 1));
    this.#describe(slot, tile);
  }

  /**
   * @param {Slot} slot
   * @param {Tile} tile
   */
  #describe(slot, tile) {
    const { element } = slot;
    const { dataset } = element;
    dataset.label = tile.label;
    dataset.mark = tile.mark;
    dataset.model = tile.model;
    dataset.tone = tile.tone;
    element.setAttribute("aria-label", tile.name);
    element.setAttribute("aria-selected", String(this.selected.has(slot.index)));
    element.classList.toggle("active", slot.index === this.active);
  }

  /** @param {number} index */
  reveal(index) {
    const step = this.size + GAP;
    const top = Math.floor(index / this.columns) * step;
    if (top < this.top) this.#scrollTo(top);
    else if (top + step + GAP > this.top + this.height) this.#scrollTo(top + step + GAP - this.height);
  }

  /** @param {number} top */
  #scrollTo(top) {
    const whole = Math.ceil(this.count / this.columns) * (this.size + GAP) + GAP;
    this.top = Math.max(0, Math.min(top, whole - this.height));
    this.box.scrollTop = this.top;
  }

  /**
   * Move to a cell, and choose it alone or all cells from the anchor to it.
   * @param {number} index
   * @param {{extend?: boolean, keep?: boolean}} [how]
   */
  move(index, { extend = false, keep = false } = {}) {
    if (!this.count) return;
    const before = this.active;
    this.active = Math.max(0, Math.min(this.count - 1, index));
    const changed = new Set([before, this.active]);
    if (extend) {
      if (this.anchor < 0) this.anchor = Math.max(0, before);
      for (const each of this.selected) changed.add(each);
      this.selected.clear();
      const [low, high] = [Math.min(this.anchor, this.active), Math.max(this.anchor, this.active)];
      for (let each = low; each <= high; each++) {
        this.selected.add(each);
        changed.add(each);
      }
    } else {
      this.anchor = this.active;
      if (!keep) {
        for (const each of this.selected) changed.add(each);
        this.selected.clear();
      }
    }
    this.reveal(this.active);
    this.draw();
    this.update(changed);
    this.listeners.onmove?.(this.active);
    this.listeners.onselect?.();
  }

  /** @param {number} index */
  toggle(index) {
    if (index < 0) return;
    if (!this.selected.delete(index)) this.selected.add(index);
    this.anchor = index;
    this.update([index]);
    this.listeners.onselect?.();
  }

  selectAll() {
    for (let index = 0; index < this.count; index++) this.selected.add(index);
    this.refresh();
    this.listeners.onselect?.();
  }

  clearSelection() {
    this.selected.clear();
    this.refresh();
    this.listeners.onselect?.();
  }

  /** The cells that a key acts on: those selected, or the one that is active. */
  targets() {
    if (this.selected.size) return [...this.selected].sort((a, b) => a - b);
    return this.active >= 0 ? [this.active] : [];
  }

  /** @param {MouseEvent} event */
  #press(event) {
    const element = /** @type {HTMLElement} */ (event.target).closest(".tile");
    if (!element || event.button !== 0) return;
    const slot = this.slots.find((each) => each.element === element);
    if (!slot || slot.index < 0) return;
    event.preventDefault();
    this.box.focus({ preventScroll: true });
    if (event.shiftKey) this.move(slot.index, { extend: true });
    else if (event.ctrlKey || event.metaKey) {
      const { index } = slot;
      this.move(index, { keep: true });
      this.toggle(index);
    } else this.move(slot.index);
  }

  /**
   * Handle the keys that move and select.
   * @param {KeyboardEvent} event
   * @returns {boolean} whether the key was one of them
   */
  key(event) {
    const across = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns,
      PageUp: -this.page * this.columns, PageDown: this.page * this.columns };
    const extend = event.shiftKey;
    if (event.altKey) return false;
    if (event.key in across) {
      const step = across[/** @type {keyof typeof across} */ (event.key)];
      const target = this.active + step;
      if (Math.abs(step) === this.columns && (target < 0 || target >= this.count)) return true;
      this.move(target, { extend });
    } else if (event.key === "Home") this.move(0, { extend });
    else if (event.key === "End") this.move(this.count - 1, { extend });
    else if (event.key === " " && !event.ctrlKey) this.toggle(this.active);
    else if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) this.selectAll();
    else return false;
    return true;
  }
}
