/** Which key does what, which of them are switched off, and the table of all keys. */

import { h, table } from "./dom.js";
import { ask } from "./dialogs.js";

/**
 * @typedef {object} Action
 * @property {string} name
 * @property {string} does what a person reads
 * @property {string} key the key it has at first
 * @property {"label" | "act" | "view"} kind
 */

/** Keys of one character, which a person can change or switch off (WCAG 2.1.4). @type {Action[]} */
export const ACTIONS = [
  { name: "A", does: "Call it ALL (a lymphoblast)", key: "a", kind: "label" },
  { name: "N", does: "Call it normal", key: "n", kind: "label" },
  { name: "U", does: "Unsure: list it and count it apart", key: "u", kind: "label" },
  { name: "X", does: "Do not count: not a cell (smudge, artefact), or counted already", key: "x", kind: "label" },
  { name: "undo", does: "Undo", key: "z", kind: "act" },
  { name: "redo", does: "Redo", key: "Shift+Z", kind: "act" },
  { name: "next", does: "Go to the next cell without a label", key: "j", kind: "act" },
  { name: "flag", does: "Flag, or take the flag away", key: "f", kind: "act" },
  { name: "note", does: "Write a note", key: "c", kind: "act" },
  { name: "scale", does: "Show cells to one scale, or fit each to its tile", key: "s", kind: "view" },
  { name: "larger", does: "Larger tiles", key: "+", kind: "view" },
  { name: "smaller", does: "Smaller tiles", key: "-", kind: "view" },
  { name: "blind", does: "Hide or show what the model says", key: "b", kind: "view" },
  { name: "overlay", does: "On a cell's page: show or hide the heatmap", key: "h", kind: "view" },
  { name: "help", does: "Show all keys", key: "?", kind: "view" },
];

const FIXED = [
  ["Arrows, Home, End, Page Up, Page Down", "Move"],
  ["Space", "Select the cell, or take it out of the selection"],
  ["Shift + arrows", "Select from here on"],
  ["Ctrl + A", "Select all cells shown"],
  ["Enter", "Open the cell"],
  ["Escape", "Take the selection away; close the cell"],
  ["[ and ]", "On a cell's page: fainter or stronger heatmap"],
];

const STORE = "blastscope.keys";

/** @returns {{off?: boolean, keys?: Record<string, string>}} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "{}");
  } catch {
    return {};
  }
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  const letter = event.key.length === 1 && event.key.toLowerCase() !== event.key.toUpperCase();
  if (!letter) return event.key === "=" ? "+" : event.key;
  return event.shiftKey ? `Shift+${event.key.toUpperCase()}` : event.key.toLowerCase();
}

/** @param {string} name */
export function keyOf(name) {
  const action = ACTIONS.find((each) => each.name === name);
  return stored().keys?.[name] ?? action?.key ?? "";
}

/** @param {string} name */
export function keyName(name) {
  if (stored().off) return "";
  const key = keyOf(name);
  return key.length === 1 ? key.toUpperCase() : key.replace("Shift+", "Shift + ");
}

/**
 * @param {KeyboardEvent} event
 * @returns {string | null} the name of the action that a key stands for
 */
export function actionOf(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || stored().off) return null;
  const key = pressed(event);
  return ACTIONS.find((action) => keyOf(action.name) === key)?.name ?? null;
}

/** @param {FormData} data */
function save(data) {
  const keys = Object.fromEntries(ACTIONS.map(({ name, key }) => {
    const given = String(data.get(`key-${name}`) ?? "").trim();
    return [name, given ? (given.length === 1 ? given.toLowerCase() : given) : key];
  }));
  localStorage.setItem(STORE, JSON.stringify({ off: !data.get("on"), keys }));
}

/**
 * @param {FormData} data
 * @returns {string | null} why these keys can't be
 */
function clash(data) {
  /** @type {Map<string, string>} */
  const taken = new Map();
  for (const { name, does } of ACTIONS) {
    const key = String(data.get(`key-${name}`) ?? "").trim().toLowerCase();
    if (!key) continue;
    if (key.replace("shift+", "").length !== 1) return `“${key}” is not one character: give one key for “${does}”.`;
    if (key === "[" || key === "]") return "The keys [ and ] are taken by the heatmap: choose another.";
    const other = taken.get(key);
    if (other) return `“${key}” is given twice, to “${other}” and to “${does}”: change one of them.`;
    taken.set(key, does);
  }
  return null;
}

/** Show all keys; a person can change them or switch single keys off. */
export async function showKeys() {
  const on = !stored().off;
  const rows = ACTIONS.map(({ name, does }) => [does, h("input", {
    class: "key", name: `key-${name}`, value: keyOf(name), maxlength: 7, "aria-label": `Key for: ${does}`,
    autocomplete: "off", spellcheck: "false",
  })]);
  const answer = await ask("Keys", [
    h("p", {}, "They work if the cells have the focus (click on the cells, or press Tab until they have a frame)."),
    h("div", { class: "columns" },
      table("Move and select", ["Key", "What it does"], FIXED.map(([key, does]) => [h("kbd", {}, key), does])),
      table("Single keys: change them here", ["What it does", "Key"], rows)),
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "on", checked: on }), "Single keys are on"),
  ], { ok: "Save keys", cancel: "Close", wide: true, calm: true,
    check: async (form) => clash(new FormData(form)) });
  if (answer) save(answer);
  return answer !== null;
}
