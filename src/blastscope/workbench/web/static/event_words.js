/** What an entry of a case's history says. */

import { LABELS } from "./words.js";

/** @param {import("./types.js").HistoryEvent} event */
export function eventWords(event) {
  const value = event.value === null || event.value === undefined ? "none" : LABELS[event.value] ?? String(event.value);
  switch (event.kind) {
    case "label": return `label ${value}`;
    case "adjudicate": return `final label ${value}`;
    case "flag": return event.value ? "flagged" : "flag taken away";
    case "note": return event.value ? `note “${event.value}”` : "note taken away";
    case "undo": return "undid an action";
    case "redo": return "did an action again";
    case "reveal": return "saw the model from here on";
    default: return event.value === null || event.value === undefined ? event.kind : `${event.kind}: ${typeof event.value === "object" ? JSON.stringify(event.value) : event.value}`;
  }
}
