/** Which cells are shown and in which order; the same rules as the server's `cells/find`. */

import { counting } from "./review.js";

/** @typedef {import("./review.js").Review} Review */
/** @typedef {import("./review.js").Cell} Cell */

/**
 * @typedef {object} Filter
 * @property {string} name
 * @property {string} words
 * @property {"label" | "model" | "mark"} group filters of a group `label` replace each other
 * @property {(cell: Cell, review: Review) => boolean} holds
 */

/** @type {Filter[]} */
export const FILTERS = [
  { name: "unlabelled", words: "No label yet", group: "label", holds: (cell) => !counting(cell) },
  { name: "A", words: "ALL", group: "label", holds: (cell) => counting(cell) === "A" },
  { name: "N", words: "Normal", group: "label", holds: (cell) => counting(cell) === "N" },
  { name: "U", words: "Unsure", group: "label", holds: (cell) => counting(cell) === "U" },
  { name: "X", words: "Not a cell", group: "label", holds: (cell) => counting(cell) === "X" },
  { name: "referred", words: "Referred", group: "model", holds: (cell) => Boolean(cell.refer) },
  { name: "ood", words: "Out of distribution", group: "model", holds: (cell) => Boolean(cell.ood) },
  { name: "near", words: "Near the threshold", group: "model", holds: (cell, review) => review.near(cell) },
  { name: "disagrees", words: "You and the model differ", group: "model", holds: (cell, review) => review.disagrees(cell) },
  { name: "flagged", words: "Flagged", group: "mark", holds: (cell) => cell.flag },
  { name: "noted", words: "With a note", group: "mark", holds: (cell) => Boolean(cell.note) },
  { name: "sample", words: "In the random sample", group: "mark", holds: (cell) => cell.in_sample },
  { name: "doubles", words: "Possible doubles", group: "mark", holds: (cell, review) => {
    const other = review.byNumber.get(cell.double_of ?? 0);
    return Boolean(cell.double_of) && counting(cell) !== "X" && !(other && counting(other) === "X");
  } },
  { name: "unusable", words: "Not usable", group: "mark", holds: (cell) => Boolean(cell.problem) },
  { name: "disagreements", words: "Readers differ", group: "mark", holds: (cell) => Boolean(cell.other && cell.label && cell.other !== cell.label && !cell.final) },
];

/** @type {{name: string, words: string, model: boolean}[]} */
export const ORDERS = [
  { name: "needs", words: "Most doubtful first", model: true },
  { name: "random", words: "Random", model: false },
  { name: "-p", words: "Most like ALL first", model: true },
  { name: "p", words: "Most like normal first", model: true },
  { name: "n", words: "As in the files", model: false },
];

const LAST = Number.MAX_SAFE_INTEGER;

/** @param {Review} review @param {Iterable<string>} names @returns {Cell[]} */
export function filtered(review, names) {
  const chosen = new Set(names);
  const wanted = FILTERS.filter((filter) => chosen.has(filter.name));
  // An image that can't be judged is shown only to those who ask for it.
  return review.cells.filter((cell) => Boolean(cell.problem) === chosen.has("unusable") && wanted.every((filter) => filter.holds(cell, review)));
}

/**
 * @param {Cell[]} cells
 * @param {string} order
 * @returns {Cell[]}
 */
export function ordered(cells, order) {
  /** @type {(cell: Cell) => number} */
  const rank = {
    needs: (/** @type {Cell} */ cell) => cell.needs ?? LAST,
    random: (/** @type {Cell} */ cell) => cell.random ?? LAST,
    "-p": (/** @type {Cell} */ cell) => (cell.p === null || cell.p === undefined ? 2 : -cell.p),
    p: (/** @type {Cell} */ cell) => cell.p ?? 2,
  }[order] ?? ((cell) => cell.n);
  return [...cells].sort((a, b) => rank(a) - rank(b) || a.n - b.n);
}

/** @param {Review} review @returns {Record<string, number>} how many cells each filter holds */
export function countsOf(review) {
  /** @type {Record<string, number>} */
  const counts = Object.fromEntries(FILTERS.map(({ name }) => [name, 0]));
  for (const { name, holds } of FILTERS) {
    let count = 0;
    for (const cell of review.cells) if (Boolean(cell.problem) === (name === "unusable") && holds(cell, review)) count += 1;
    counts[name] = count;
  }
  return counts;
}
