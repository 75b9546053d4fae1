/** What a reader must know about the case now: scoring, offline, signed, nothing matches, all done. */

import { get, Refusal } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { filtered } from "./filters.js";
import { counting } from "./review.js";
import { boot, outbox, signInAgain } from "./frame.js";
import { askToDrop } from "./refused.js";
import { counted, duration } from "./words.js";

/** @typedef {import("./gallery.js").Gallery} Gallery */
/** @typedef {import("./types.js").Case} Case */

const BUSY = ["receiving", "preparing", "scoring"];

export class States {
  /** @param {Gallery} gallery */
  constructor(gallery) {
    this.gallery = gallery;
    this.strips = h("div");
    /** @type {HTMLElement | undefined} */
    this.over = undefined;
    /** @type {{text: string, tone: string} | null} */
    this.said = null;
    this.connection = "saved";
    /** Whether scores came in that the order does not know. */
    this.stale = false;
    document.addEventListener("saved", (event) => {
      const { state, message } = /** @type {CustomEvent} */ (event).detail;
      const changed = state !== this.connection && (state === "offline" || this.connection === "offline");
      this.connection = state;
      this.message = message;
      if (changed) this.draw();
    });
  }

  /** Say something for some seconds above the grid. @param {string} text @param {"plain" | "good" | "bad"} tone */
  say(text, tone) {
    this.said = { text, tone };
    announce(text);
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.said = null;
      this.draw();
    }, 6000);
  }

  /** @param {Refusal} refusal */
  refused(refusal) {
    if (refusal.code.startsWith("nothing-to")) return this.say(refusal.message, "plain");
    if (refusal.code === "signed") this.gallery.item.state = "signed";
    this.refusal = refusal;
    this.draw();
  }

  /** Draw the strips above the grid, and the note over it. */
  draw() {
    const { gallery } = this;
    const { item, review } = gallery;
    fill(this.strips, this.#connection(), this.#progress(item),
      item.state === "signed" && this.#strip("good", "This case is signed: you can look, and not change.", h("a", { href: `/cases/${item.id}` }, "Open the case to see the signature or to reopen it")),
      review.blind && this.#strip("plain", "Blind reading: what the model and others say is hidden."),
      gallery.adjudicating && this.#strip("plain", "You decide where readers differ: your label becomes the final one. Tiles show reading 1 / reading 2."),
      this.#moved(), this.#done(),
      this.said && this.#strip(this.said.tone, this.said.text));
    this.#over();
  }

  /** @param {string} tone @param {...import("./dom.js").Children} parts */
  #strip(tone, ...parts) {
    return h("div", { class: `strip ${tone}` }, ...parts);
  }

  #connection() {
    if (this.refusal)
      return this.#strip("bad", h("strong", {}, "Not saved: "), this.refusal.message,
        h("button", { type: "button", onclick: () => askToDrop(outbox) }, "Drop these changes…"));
    if (this.connection !== "offline") return null;
    return this.#strip("bad", h("strong", {}, "Offline. "), this.message ?? "", " What you do is kept in this browser and sent again by itself.",
      h("button", { type: "button", onclick: () => outbox.retry() }, "Try now"));
  }

  /** @param {Case} item */
  #progress(item) {
    if (!BUSY.includes(item.state)) return null;
    const { progress } = item;
    if (progress.stopped) return this.#strip("bad", progress.stopped, h("a", { href: `/cases/${item.id}` }, "Open the case"));
    const left = progress.seconds_left ? `, about ${duration(progress.seconds_left)} left` : "";
    const { job } = progress;
    const words = item.state === "receiving" ? "Files are still being sent"
      : job?.kind === "segment" ? `Cells are looked for in ${counted(job.total ?? progress.sent, "field")}${left}`
        : job?.kind === "prepare" ? `${progress.prepared} of ${counted(progress.cells || progress.sent, "cell")} prepared${left}, before they are scored`
          : `${progress.scored} of ${counted(progress.cells || progress.sent, "cell")} scored${left}`;
    return this.#strip("plain", h("span", {}, `${words}. You can begin: the page fills by itself.`),
      h("progress", { max: Math.max(1, progress.cells), value: progress.scored, "aria-label": "Cells scored" }));
  }

  /** Cells that were labelled out of the filter stay until the reader asks. */
  #moved() {
    const { gallery } = this;
    if (this.stale && gallery.order !== "n" && gallery.order !== "random")
      return this.#strip("plain", "New scores came in: the order does not know them yet.", this.#again("Order again"));
    if (!gallery.filters.size) return null;
    const matches = new Set(filtered(gallery.review, gallery.filters).map((cell) => cell.n));
    const shown = gallery.lists.flat();
    const gone = shown.filter((cell) => !matches.has(cell.n)).length;
    if (!gone || gone === shown.length) return null;
    return this.#strip("plain", `${counted(gone, "cell")} no longer ${gone === 1 ? "matches" : "match"} the filter.`,
      this.#again("Filter again"));
  }

  /** @param {string} words */
  #again(words) {
    return h("button", { type: "button", "data-tool": "again", onclick: () => {
      this.gallery.relist(this.gallery.active?.n);
      this.gallery.grid.box.focus();
    } }, words);
  }

  #done() {
    const { gallery } = this;
    const cells = gallery.review.cells.filter((cell) => !cell.problem);
    if (BUSY.includes(gallery.item.state) || gallery.item.state === "signed") return null;
    if (!cells.length || cells.some((cell) => !counting(cell))) return null;
    return this.#strip("good", "Every cell has a label.", gallery.review.reading
      ? h("a", { href: `/cases/${gallery.item.id}/reading` }, "Finish the reading")
      : h("a", { href: `/cases/${gallery.item.id}` }, "Go to the case to sign it"));
  }

  #over() {
    const { gallery, over } = this;
    if (!over) return;
    const empty = !gallery.lists.some((list) => list.length);
    over.hidden = !empty;
    if (!empty) return;
    const none = gallery.review.cells.length === 0;
    fill(over, h("div", {}, none
      ? [h("p", {}, BUSY.includes(gallery.item.state) ? "No cell is prepared yet. This page fills by itself." : "This case has no cells."),
        h("a", { href: `/cases/new?case=${gallery.item.id}` }, "Add files")]
      : [h("p", {}, "No cell matches these filters."),
        h("button", { type: "button", class: "primary", onclick: () => {
          gallery.filters.clear();
          gallery.relist();
          gallery.grid.box.focus();
        } }, "Clear the filters")]));
  }

  /** Follow the case: every two seconds while it is scored, every eight for other readers' work. */
  async watch() {
    const { gallery } = this;
    for (;;) {
      const busy = BUSY.includes(gallery.item.state);
      await new Promise((resolve) => setTimeout(resolve, busy ? 2000 : 8000));
      if (document.hidden || outbox.waiting) continue;
      try {
        const before = gallery.review.cells.length;
        gallery.item = await get(`/api/v1/cases/${boot.case}`);
        const changed = await gallery.review.poll();
        const more = gallery.review.cells.length !== before;
        if (more || (busy && changed.length)) {
          // Whoever has begun keeps the order under their hands.
          if (more || !gallery.touched) await gallery.relist(gallery.active?.n);
          else this.stale = true;
          gallery.fetchSheets();
        }
        this.draw();
        if (busy && !BUSY.includes(gallery.item.state)) this.say("All cells are scored.", "good");
      } catch (fault) {
        if (fault instanceof Refusal && fault.status === 401) return signInAgain();
      }
    }
  }
}
