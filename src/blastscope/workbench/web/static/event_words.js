/** What an entry of a case's history says. */

import { counted, LABELS, sentBy } from "./words.js";

/** @type {Record<string, (about: any) => string>} what the server itself records */
const SYSTEM = {
  created: (about) => `case begun: ${about.material}, ${about.sampling === "selected" ? "selected cells" : about.sampling === "random" ? "a random sample" : "all cells"}${about.blind_first ? ", blind first" : ""}; model ${digest(about.model)}`,
  scale: (about) => `scale of the fields: ${about.um_per_pixel} µm per pixel`,
  files: (about) => `${counted(about.files, "file")} sent${about.senders ? ` by ${sentBy(about.senders)}` : ""}`,
  scored: (about) => `scored again with the model ${digest(about.model ?? about.digest ?? "")}`,
  sample: (about) => (about.before ? `random sample enlarged from ${about.before} to ${about.size} cells` : `random sample of ${about.size} cells drawn`),
  signed: (about) => {
    const left = (about.files_waiting ?? 0) + (about.unprepared ?? 0) + (about.unscored ?? 0);
    return left ? `signed without ${counted(left, "file or cell", "files or cells")} not prepared or scored` : "signed";
  },
  reopened: (about) => `reopened: “${about.reason}”`,
  "reading-started": (about) => `reading ${about.reading ?? about.number ?? ""} begun${about.blind ? ", blind" : ""}`,
  "reading-finished": (about) => `reading ${about.reading ?? ""} finished`,
  exported: (about) => `exported ${about.file}`,
};

/** @param {string} text */
function digest(text) {
  return text.replace(/^sha256:/, "").slice(0, 12);
}

/** @param {any} value */
function labelled(value) {
  return value === null || value === undefined ? "none" : LABELS[value] ?? String(value);
}

/** @param {import("./types.js").HistoryEvent} event */
export function eventWords(event) {
  const { kind, value } = event;
  switch (kind) {
    case "label": return `label ${labelled(value)}`;
    case "adjudicate": return `final label ${labelled(value)}`;
    case "flag": return value ? "flagged" : "flag taken away";
    case "note": return value ? `note “${value}”` : "note taken away";
    case "undo": return "undid an action";
    case "redo": return "did an action again";
    case "reveal": return "saw the model from here on";
    default: return SYSTEM[kind] && value && typeof value === "object" ? SYSTEM[kind](value) : kind;
  }
}
