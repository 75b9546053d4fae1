/** The three lines of a share of blasts: what it is of, its interval, and why it is missing. */

import { h } from "./dom.js";
import { intervalPlot } from "./plots.js";
import { counted, number, share } from "./words.js";

/** @typedef {import("./types.js").Line} Line */

/** @type {Record<string, string>} */
const TITLES = {
  model: "The model alone",
  mixed: "People where they labelled, the model elsewhere",
  counted: "Counted by people",
};

/** @type {Record<string, string>} */
const AGAINST = {
  below: "The whole interval is below 20 %.",
  above: "The whole interval is above 25 %.",
  open: "The interval does not settle whether the share is below 20 % or above 25 %.",
};

/** @param {Line} line */
function basis(line) {
  if (line.code === "model") return "corrected for the model's known errors";
  if (line.code === "mixed") return "only true if the rest is as the model says";
  // What it is a share of has no unsure cell in it, nor what is not a cell.
  return line.basis === "sample" ? "all that are ALL or normal in the random sample" : "all that are ALL or normal";
}

/** @param {Line} line @returns {{share: number, low: number, high: number} | null} the estimate, if it has an interval */
function bounded({ share: value, low, high }) {
  return value === null || low === null || high === null ? null : { share: value, low, high };
}

/** @param {Line} line */
export function interval(line) {
  const estimate = bounded(line);
  return estimate ? `95 % interval ${share(estimate.low)} to ${share(estimate.high)}` : "no interval: how right the model is on the rest is not known";
}

/** @param {Line} line @returns {string} how many cells are in no share, or nothing */
function uncounted(line) {
  if (!line.uncounted) return "";
  const cells = counted(line.uncounted, "cell");
  return line.code === "model" ? `Not in it: ${cells} that the model does not call.`
    : `Not in it: ${cells} without a label that the model does not call either.`;
}

/** @param {Line} line a share in a line, or why there is none */
export function lineWords(line) {
  if (line.share === null) return line.message ?? "not estimated";
  const estimate = bounded(line);
  return `${share(line.share)} (${estimate ? `${share(estimate.low)} to ${share(estimate.high)}` : "no interval"})`;
}

/** @param {Line} line @param {string} [level] heading element */
export function lineCard(line, level = "h2") {
  const title = TITLES[line.code] ?? line.code;
  const estimate = bounded(line);
  return h("section", { class: line.code === "counted" ? "share main" : "share" },
    h(/** @type {"h2"} */ (level), {}, title),
    line.share !== null
      ? [
        h("div", { class: "value" }, share(line.share), " ", h("small", {}, "ALL")),
        h("p", {}, interval(line), h("br"), h("small", {}, `${number(line.blasts)} of ${number(line.of)} cells; ${basis(line)}`)),
        uncounted(line) && h("p", {}, h("small", {}, uncounted(line))),
        line.doubles ? h("p", {}, h("small", {}, `Left out: ${counted(line.doubles, "cell")} of overlapping fields that may be counted already.`)) : null,
        estimate && intervalPlot(estimate, `${title}: ${share(line.share)}, ${interval(line)}; lines at 20 and 25 %`),
        line.against && AGAINST[line.against] && h("p", {}, AGAINST[line.against]),
        line.share_if_unsure_are && h("p", {}, h("small", {},
          `${share(line.share_if_unsure_are[0])} if every unsure cell is normal, ${share(line.share_if_unsure_are[1])} if every one is ALL.`)),
      ]
      : [h("div", { class: "value" }, h("small", {}, "not estimated")), h("p", {}, line.message ?? line.reason ?? "", line.left ? ` ${number(line.left)} are left.` : "")]);
}

/** @param {Line} line a line of the gallery's panel: a term and a number */
export function lineBrief(line) {
  return h("div", { class: "brief" }, h("div", {}, TITLES[line.code] ?? line.code),
    line.share === null ? h("small", {}, lineWords(line)) : h("div", {}, h("strong", {}, lineWords(line))));
}
