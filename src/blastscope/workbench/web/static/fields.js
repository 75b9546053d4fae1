/** Whole fields: their scale, what was found in them, and where a cell lies in its field. */

import { post } from "./api.js";
import { h, scrolling, table } from "./dom.js";
import { may, showFault } from "./frame.js";
import { counted, number } from "./words.js";

/** @typedef {import("./types.js").Case} Case */
/** @typedef {number[]} Place left, top, width, height in pixels of the field */
/** @typedef {Api.SmearFieldJson} Field */
/** @typedef {{number: number, file?: string, width: number, height: number, place: Place, image: string}} Placed */

/** An input for micrometres per pixel, which may stay empty. */
export function scaleField() {
  return h("label", { class: "field" }, "Micrometres per pixel", h("input", { name: "um_per_pixel", inputmode: "decimal", autocomplete: "off", size: 8, placeholder: "0.073" }),
    h("small", {}, "7.5 divided by the diameter of a red cell in pixels. If you leave it empty, red cells are measured."));
}

/** @param {HTMLElement} field @returns {number | null} what was typed; a decimal comma will do */
export function scaleOf(field) {
  const text = /** @type {HTMLInputElement} */ (field.querySelector("input")).value.trim().replace(",", ".");
  if (!text) return null;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`“${text}” is not a number of micrometres per pixel: type one such as 0.073, or leave it empty.`);
  return value;
}

/** @param {Case} item @param {() => void} again tells the scale after it could not be measured */
export function scaleForm(item, again) {
  const field = scaleField();
  const problem = h("div");
  return h("form", { class: "actions", onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      const scale = scaleOf(field);
      if (scale === null) throw new Error("Type the micrometres per pixel: this scale could not be measured.");
      await post(`/api/v1/cases/${item.id}/scale`, { um_per_pixel: scale });
      again();
    } catch (fault) {
      showFault(fault, problem);
    }
  } }, field, h("button", { type: "submit", disabled: !may.read }, "Use this scale"), problem);
}

/** @param {Place} place @param {{width: number, height: number}} field @param {string} kind */
function frame([x, y, w, h_], field, kind) {
  const box = h("span", { class: `place ${kind}` });
  Object.assign(box.style, { left: `${(100 * x) / field.width}%`, top: `${(100 * y) / field.height}%`,
    width: `${(100 * w) / field.width}%`, height: `${(100 * h_) / field.height}%` });
  return box;
}

/** @param {{width: number, height: number, image: string}} field @param {string} words @param {HTMLElement[]} marks */
function picture(field, words, marks) {
  const whole = h("div", { class: "smear" }, h("img", { src: field.image, alt: words }), marks);
  whole.style.aspectRatio = `${field.width} / ${field.height}`;
  return whole;
}

/** @param {Placed} field @param {number} n */
export function placeInField(field, n) {
  const name = field.file ?? `field ${field.number}`;
  return h("figure", {}, picture(field, `Cell ${n} in its field, ${name}`, [frame(field.place, field, "here")]),
    h("figcaption", {}, `Its place in ${name}, ${field.width} × ${field.height} px`));
}

/** @param {Case} item @param {Api.FieldsJson} found */
export function fieldsPanel(item, { fields, refused }) {
  if (!fields.length) return null;
  const cells = fields.reduce((sum, field) => sum + field.cells.length, 0);
  const [first] = fields;
  const within = first.within === null ? "" : ` ± ${(first.within * 100).toFixed(0)} %`;
  const scale = `${first.um_per_pixel.toPrecision(3)} µm per pixel${within}, ${first.red_cells === null ? "as entered" : `measured by ${counted(first.red_cells, "red cell")} that are taken to be 7.5 µm wide`}`;
  return h("section", { class: "panel" }, h("h2", {}, "Fields"),
    h("p", {}, `${counted(cells, "cell")} cut out of ${counted(fields.length, "field")}; ${scale}.`),
    first.contradicted_by === null ? null : h("p", { class: "notice warn" }, h("strong", {}, "Check the scale: "),
      `red cells show ${first.contradicted_by.toPrecision(3)} µm per pixel, if they are 7.5 µm wide. At a wrong scale the size of every cell is wrong: create a new case with the right one.`),
    refused ? h("p", {}, h("strong", {}, `${counted(refused, "cell")} of the fields could not be outlined or ${refused === 1 ? "was" : "were"} cut by the edge: `), `${refused === 1 ? "it is" : "they are"} in no count and no share. `,
      h("a", { href: `/api/v1/cases/${item.id}/problems.csv`, download: true }, "Download the list (CSV)")) : null,
    scrolling("Fields", table("What was found in each field; refused cells are framed with dashes.", ["Field", { name: "Cells", number: true }, { name: "Refused", number: true }, "Why"],
      fields.map((field) => [field.file ?? `Field ${field.number}`, number(field.cells.length), number(field.refused.length), reasons(field)]))),
    h("div", { class: "smears" }, fields.slice(0, MOST_SHOWN).map((field) => h("figure", {},
      picture(field, `${field.file ?? `Field ${field.number}`}: ${counted(field.refused.length, "refused cell")} framed`, field.refused.map(({ place, reason }) => {
        const mark = frame(place, field, "refused");
        mark.title = reason;
        return mark;
      })), h("figcaption", {}, field.file ?? `Field ${field.number}`)))),
    fields.length > MOST_SHOWN ? h("p", {}, h("small", {}, `And ${number(fields.length - MOST_SHOWN)} more fields: a cell's page shows its own.`)) : null);
}

const MOST_SHOWN = 12;

/** @param {Field} field */
function reasons({ refused }) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { reason } of refused) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].map(([reason, count]) => `${number(count)} ${reason}`).join("; ") || "–";
}
