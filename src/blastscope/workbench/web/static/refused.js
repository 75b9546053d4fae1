/** Changes that the server refused for good: say which and why, and drop them if the person agrees. */

import { ask } from "./dialogs.js";
import { h } from "./dom.js";
import { eventWords } from "./event_words.js";
import { counted } from "./words.js";

/** @typedef {import("./outbox.js").Entry} Entry */

const MOST = 12;

/** @param {Entry} entry */
function words({ case: item, event }) {
  const cells = event.cells ?? [];
  const which = cells.length ? `${cells.length === 1 ? "cell" : "cells"} ${cells.slice(0, 8).join(", ")}${cells.length > 8 ? ` and ${cells.length - 8} more` : ""}: ` : "";
  return h("li", {}, h("a", { href: `/cases/${item}` }, `Case no. ${item}`), `, ${which}${eventWords(/** @type {any} */ (event))}`);
}

/**
 * Ask whether to drop what was refused; then the page is loaded again, to show what the server holds.
 *
 * @param {import("./outbox.js").Outbox} outbox
 */
export async function askToDrop(outbox) {
  const entries = [...outbox.refused];
  if (!entries.length) return;
  const agreed = await ask(`Drop ${counted(entries.length, "change")}?`, [
    h("p", {}, h("strong", {}, "The server refused to save: "), outbox.refusal?.message ?? ""),
    h("ul", {}, entries.slice(0, MOST).map(words), entries.length > MOST ? h("li", {}, `and ${entries.length - MOST} more`) : null),
    h("p", {}, "They are kept in this browser until you drop them, and tried again each time you open a page. What is dropped is gone; what was saved stays."),
  ], { ok: `Drop ${counted(entries.length, "change")}`, cancel: "Keep", danger: true, calm: true });
  if (!agreed) return;
  outbox.dropRefused(entries);
  location.reload();
}
