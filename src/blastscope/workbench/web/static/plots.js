/** Small plots in SVG, each with its numbers in words for those who can't see it. */

import { svg } from "./dom.js";

/**
 * An interval on a line from 0 to 100 %, with the lines at 20 and 25 %.
 *
 * @param {{share: number, low: number, high: number}} estimate as shares, 0 to 1
 * @param {string} words what it says
 */
export function intervalPlot(estimate, words) {
  const x = (/** @type {number} */ share) => 6 + share * 288;
  return svg("svg", { viewBox: "0 0 300 34", class: "plot", role: "img", "aria-label": words },
    svg("line", { class: "axis", x1: x(0), x2: x(1), y1: 14, y2: 14 }),
    [0.2, 0.25].map((line) => svg("line", { class: "line", x1: x(line), x2: x(line), y1: 2, y2: 24 })),
    [0, 0.25, 0.5, 0.75, 1].map((tick) =>
      svg("text", { x: x(tick), y: 33, "text-anchor": tick === 0 ? "start" : tick === 1 ? "end" : "middle" }, `${tick * 100} %`)),
    svg("line", { class: "whole", x1: x(estimate.low), x2: x(estimate.high), y1: 14, y2: 14 }),
    [estimate.low, estimate.high].map((end) => svg("line", { class: "whole", x1: x(end), x2: x(end), y1: 9, y2: 19 })),
    svg("circle", { class: "dot", cx: x(estimate.share), cy: 14, r: 4.5 }));
}

/**
 * A histogram of probabilities, stacked by what a person called the cells.
 *
 * @param {{all: number[], hem: number[], none: number[]}} bins equally wide, from 0 to 1
 * @param {number} threshold
 * @param {string} words
 */
export function histogram(bins, threshold, words) {
  const count = bins.all.length;
  const totals = bins.all.map((value, index) => value + bins.hem[index] + bins.none[index]);
  const top = Math.max(1, ...totals);
  const width = 480 / count;
  const height = (/** @type {number} */ value) => (value / top) * 110;
  return svg("svg", { viewBox: "0 0 500 146", class: "plot", role: "img", "aria-label": words },
    totals.map((_, index) => {
      let base = 122;
      return /** @type {const} */ (["none", "hem", "all"]).map((kind) => {
        const tall = height(bins[kind][index]);
        base -= tall;
        return svg("rect", { class: kind, x: 10 + index * width + 0.5, y: base, width: width - 1, height: tall });
      });
    }).flat(),
    svg("line", { class: "axis", x1: 10, x2: 490, y1: 122, y2: 122 }),
    svg("line", { class: "line", x1: 10 + threshold * 480, x2: 10 + threshold * 480, y1: 4, y2: 126 }),
    svg("text", { x: 10, y: 138 }, "0"),
    svg("text", { x: 490, y: 138, "text-anchor": "end" }, "1: ALL"),
    svg("text", { x: 10 + threshold * 480, y: 138, "text-anchor": "middle" }, `threshold ${threshold.toFixed(2)}`),
    svg("text", { x: 490, y: 12, "text-anchor": "end" }, `${top} cells in the tallest bar`));
}
