/**
 * Events on their way to the server. Each is kept in the browser until the server has it on disk,
 * so that a lost connection, a closed tab or a restart loses none; the server knows a second copy
 * by its UUID.
 */

import { call, Refusal } from "./api.js";

/**
 * @typedef {object} ReviewEvent
 * @property {string} id UUID
 * @property {"label" | "flag" | "note" | "undo" | "redo" | "adjudicate" | "reveal"} kind
 * @property {number[]} [cells]
 * @property {any} [value]
 * @property {object} [shown] what the reader could see
 * @property {number} [reading]
 * @property {string} at
 */
/** @typedef {{case: number, order: number, event: ReviewEvent}} Entry */
/** @typedef {"saved" | "unsaved" | "offline" | "refused"} State */

const AT_ONCE = 100;
/** Milliseconds until a request without an answer counts as lost; it is sent again, which is safe. */
const PATIENCE = 20_000;

/** @returns {string} a UUID, version 4, on plain HTTP as well */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export class Outbox {
  /**
   * @param {string} workbench where they are made: another may be served at this address next
   * @param {number} person whose events these are
   */
  constructor(workbench, person) {
    this.prefix = `blastscope.event.${workbench}.${person}.`;
    /** @type {Entry[]} */
    this.entries = [];
    this.sending = false;
    this.offline = false;
    this.pause = 0;
    /** @type {(() => void) | undefined} */
    this.wake = undefined;
    /** What the server refused for good, until the person has read why. @type {Entry[]} */
    this.refused = [];
    /** Why the last of them was refused. @type {Refusal | null} */
    this.refusal = null;
    /** Entries of a refused batch, which are sent one by one to find the one at fault. @type {Set<Entry>} */
    this.singly = new Set();
    /** @type {(state: State, waiting: number, message?: string) => void} */
    this.onstate = () => {};
    /** @type {(answer: any, sent: Entry[]) => void} */
    this.onsaved = () => {};
    /** @type {(refusal: Refusal, refused: Entry[]) => void} */
    this.onrefused = () => {};
  }

  get waiting() {
    return this.entries.length + this.refused.length;
  }

  /** Take up what an earlier page left behind, and go on when the connection is back. */
  start() {
    for (let index = 0; index < localStorage.length; index++) {
      const key = localStorage.key(index);
      if (!key?.startsWith(this.prefix)) continue;
      const entry = JSON.parse(localStorage.getItem(key) ?? "null");
      if (entry) this.entries.push(entry);
    }
    this.entries.sort((a, b) => a.order - b.order);
    window.addEventListener("online", () => this.retry());
    this.#say();
    this.#send();
  }

  /**
   * Keep an event and send it.
   * @param {number} item the case
   * @param {Omit<ReviewEvent, "id" | "at">} content
   */
  add(item, content) {
    const event = { id: uuid(), at: new Date().toISOString(), ...content };
    const order = Math.max(Date.now(), (this.entries.at(-1)?.order ?? 0) + 1);
    const entry = { case: item, order, event };
    this.entries.push(entry);
    try {
      localStorage.setItem(this.prefix + event.id, JSON.stringify(entry));
    } catch {
      // The browser's store is full: the event still goes out from memory, and "unsaved" stays in sight.
    }
    this.#say();
    this.#send();
    return event;
  }

  retry() {
    this.pause = 0;
    this.wake?.();
    this.#send();
  }

  /** @param {number} item @returns {Set<number>} cells of a case with events that wait */
  pending(item) {
    const cells = new Set();
    for (const entry of [...this.refused, ...this.entries])
      if (entry.case === item) for (const cell of entry.event.cells ?? []) cells.add(cell);
    return cells;
  }

  /** Drop events that the server refused for good. @param {Entry[]} entries those that the person was asked about */
  dropRefused(entries) {
    this.#forget(entries);
    this.refused = this.refused.filter((entry) => !entries.includes(entry));
    if (!this.refused.length) this.refusal = null;
    this.#say();
  }

  /** @param {Entry[]} entries */
  #forget(entries) {
    for (const { event } of entries) localStorage.removeItem(this.prefix + event.id);
    const gone = new Set(entries);
    for (const entry of entries) this.singly.delete(entry);
    this.entries = this.entries.filter((entry) => !gone.has(entry));
  }

  #batch() {
    const [first] = this.entries;
    const alone = (/** @type {Entry} */ entry) => ["undo", "redo"].includes(entry.event.kind) || this.singly.has(entry);
    const along = (/** @type {Entry} */ entry) => entry.case === first.case && entry.event.reading === first.event.reading && !alone(entry);
    if (alone(first)) return [first];
    /** @type {Entry[]} */
    const batch = [];
    for (const entry of this.entries) {
      if (!along(entry) || batch.length === AT_ONCE) break;
      batch.push(entry);
    }
    return batch;
  }

  async #send() {
    if (this.sending) return;
    this.sending = true;
    while (this.entries.length) {
      const batch = this.#batch();
      const answer = await this.#post(batch);
      if (answer instanceof Refusal) await this.#failed(answer, batch);
      else {
        this.#forget(batch);
        this.pause = 0;
        this.offline = false;
        this.#tell(() => this.onsaved(answer, batch));
      }
      if (!this.offline) this.#say();
    }
    this.sending = false;
  }

  /**
   * @param {Entry[]} batch
   * @returns {Promise<any>} the server's answer, or a refusal, whatever went wrong: sending must go on
   */
  async #post(batch) {
    try {
      return await call("POST", `/api/v1/cases/${batch[0].case}/events`,
        { json: { events: batch.map(({ event }) => event) }, signal: AbortSignal.timeout(PATIENCE) });
    } catch (fault) {
      return fault instanceof Refusal ? fault : new Refusal(0, "The server did not answer in time: check that blastscope serve still runs.");
    }
  }

  /**
   * @param {Refusal} fault
   * @param {Entry[]} batch
   */
  async #failed(fault, batch) {
    if (fault.status === 0 || fault.status === 401 || fault.status === 429 || fault.status >= 500) {
      this.offline = true;
      this.pause = Math.min(10_000, (this.pause || 500) * 2);
      this.#say(fault.status === 401 && fault.code !== "other-person" ? "You are signed out: sign in again in another tab, and these will be sent." : fault.message);
      await new Promise((resolve) => {
        this.wake = () => resolve(null);
        setTimeout(resolve, this.pause);
      });
      return;
    }
    this.offline = false;
    if (fault.code === "nothing-to-undo" || fault.code === "nothing-to-redo") this.#forget(batch);
    else if (batch.length > 1) {
      for (const entry of batch) this.singly.add(entry);
      return;
    } else {
      const aside = this.#about(batch[0]);
      this.entries = this.entries.filter((entry) => !aside.includes(entry));
      this.refused.push(...aside);
      this.refusal = fault;
    }
    this.#tell(() => this.onrefused(fault, batch));
  }

  /**
   * Find what stands or falls with a refused entry: an undo or redo of it, if it were sent, would
   * reach what was done before.
   * @param {Entry} refused
   * @returns {Entry[]} the entry, and those
   */
  #about(refused) {
    const found = [refused];
    /** @type {boolean[]} whether each action that stands is the refused one */
    const done = [true];
    /** @type {boolean[]} */
    const undone = [];
    for (const entry of this.entries.slice(this.entries.indexOf(refused) + 1)) {
      if (entry.case !== refused.case || entry.event.reading !== refused.event.reading || entry.event.kind === "reveal") continue;
      const back = entry.event.kind === "undo";
      if (back || entry.event.kind === "redo") {
        const its = (back ? done : undone).pop() ?? false;
        (back ? undone : done).push(its);
        if (its) found.push(entry);
      } else {
        done.push(false);
        undone.length = 0;
      }
    }
    return found;
  }

  /** Tell the page; a fault of the page's must not end the sending. @param {() => void} listener */
  #tell(listener) {
    try {
      listener();
    } catch (fault) {
      console.error(fault);
    }
  }

  /** @param {string} [message] */
  #say(message) {
    if (this.refused.length) this.onstate("refused", this.refused.length, this.refusal?.message);
    else if (!this.entries.length) this.onstate("saved", 0);
    else this.onstate(this.offline ? "offline" : "unsaved", this.entries.length, message);
  }
}
