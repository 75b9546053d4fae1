/** Send files one by one, six at a time, and try again when the connection breaks. */

import { call, Refusal } from "./api.js";

/** @typedef {{name: string, file: File}} Named */

const AT_A_TIME = 6;
const TRIES = 5;

/**
 * @param {FileSystemEntry} entry
 * @param {string} folder
 * @returns {Promise<Named[]>}
 */
async function walk(entry, folder) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject));
    return [{ name: folder + file.name, file }];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {Named[]} */
  const found = [];
  for (;;) {
    // A reader gives at most a hundred entries a call.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const each of entries) found.push(...await walk(each, `${folder}${entry.name}/`));
  }
}

/** @param {DataTransfer} transfer @returns {Promise<Named[]>} files and those in folders that were dropped */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null && entry !== undefined);
  if (!entries.length) return [...transfer.files].map((file) => ({ name: file.name, file }));
  const lists = await Promise.all(entries.map((entry) => walk(entry, "")));
  return lists.flat();
}

export class Sender {
  /**
   * @param {number} item the case
   * @param {{file_bytes: number, zip_bytes: number, files: number}} limits
   */
  constructor(item, limits) {
    this.case = item;
    this.limits = limits;
    /** @type {Named[]} */
    this.queue = [];
    this.running = 0;
    this.total = 0;
    /** @type {{name: string, reason: string}[]} files that never reached the server */
    this.failed = [];
    /** Files that the operating system hides, which no one meant to send. */
    this.hidden = 0;
    this.onchange = () => {};
    /** @type {() => Promise<void>} */
    this.ondone = async () => {};
  }

  get left() {
    return this.queue.length + this.running;
  }

  /** @param {Named[]} files */
  add(files) {
    for (const each of files) {
      if (/(^|\/)(\.|Thumbs\.db$|desktop\.ini$)/.test(each.name)) {
        this.hidden += 1;
        continue;
      }
      const limit = each.name.toLowerCase().endsWith(".zip") ? this.limits.zip_bytes : this.limits.file_bytes;
      this.total += 1;
      if (each.file.size > limit) this.failed.push({ name: each.name, reason: "is larger than the server takes" });
      else this.queue.push(each);
    }
    this.onchange();
    while (this.running < AT_A_TIME && this.queue.length) this.#work();
  }

  async #work() {
    this.running += 1;
    for (let next = this.queue.shift(); next; next = this.queue.shift()) {
      await this.#send(next);
      this.onchange();
    }
    this.running -= 1;
    if (!this.left) await this.ondone();
    this.onchange();
  }

  /** @param {Named} named */
  async #send({ name, file }) {
    for (let attempt = 1; ; attempt++) {
      try {
        await call("PUT", `/api/v1/cases/${this.case}/files?name=${encodeURIComponent(name)}`,
          { body: file, headers: { "Content-Type": "application/octet-stream" } });
        return;
      } catch (fault) {
        const passing = fault instanceof Refusal && (fault.status === 0 || fault.status === 429 || fault.status >= 500);
        if (!passing || attempt === TRIES) {
          this.failed.push({ name, reason: fault instanceof Error ? fault.message : String(fault) });
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 400 * 2 ** attempt));
      }
    }
  }
}
