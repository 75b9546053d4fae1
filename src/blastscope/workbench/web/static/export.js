/** Take the case's labels elsewhere: tables, a report, a data set to train on. */

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { main, page, thisCase } from "./frame.js";
import { counted, number } from "./words.js";

/** @type {Record<string, [string, string]>} */
const FILES = {
  "cells.csv": ["Table (CSV)", "A row a cell: label, who gave it and when, what the model says."],
  "cells.parquet": ["Table (Parquet)", "The same, for Polars, pandas, R."],
  "report.html": ["Report (HTML)", "Complete in one file, with the limits of the model. Print it for a PDF."],
  "dataset.zip": ["Data set (zip)", "Folders all/ and hem/ and a table of labels, as blastscope check, prepare and train take them."],
};
const LEFT_OUT = { U: "unsure", X: "not a cell", counted_already: "of overlapping fields that are counted already", disagreements: "where readers differ", unlabelled: "without a label" };

page(async () => {
  const item = await thisCase();
  const answer = await get(`/api/v1/cases/${item.id}/export`);
  const out = Object.entries(LEFT_OUT).map(([key, words]) => [words, answer.left_out?.[key] ?? 0]).filter(([, count]) => Number(count) > 0);
  fill(main, h("div", { class: "head" }, h("h1", {}, "Export")),
    answer.why_not ? h("div", { class: "notice bad" }, h("p", {}, h("strong", {}, answer.why_not)), h("p", {}, h("a", { href: `/cases/${item.id}` }, "Open the case"))) : null,
    answer.without && !answer.why_not ? h("div", { class: "notice warn" }, h("p", {}, h("strong", {}, `Not complete: the case was signed although ${answer.without}. `), "The report, the tables and the data set say so.")) : null,
    item.state !== "signed" ? h("div", { class: "notice warn" }, h("p", {}, h("strong", {}, "This case is not signed. "), "What you export may still change, and says so.")) : null,
    h("p", {}, `${number(answer.with_label)} of ${counted(answer.cells, "cell")} have a label.`,
      out.length ? ` The data set leaves out ${out.map(([words, count]) => `${number(Number(count))} ${words}`).join(", ")}.` : "",
      answer.left_out?.unusable ? ` ${counted(answer.left_out.unusable, "image")} cannot be used: no number here has ${answer.left_out.unusable === 1 ? "it" : "them"} in it, and the tables list ${answer.left_out.unusable === 1 ? "it" : "them"} with the reason.` : "",
      answer.doubles ? ` ${counted(answer.doubles, "cell")} may be of two fields that overlap: both are in it until one is labelled not a cell.` : "",
      answer.neither ? ` ${number(answer.neither)} have no label, and the model does not call them: they are in no share.` : ""),
    answer.why_not ? null : h("div", { class: "columns" }, answer.files.map((file) => {
      const [title, words] = FILES[file.name] ?? [file.name, ""];
      return h("section", { class: "panel" }, h("h2", {}, title), h("p", {}, words),
        h("a", { class: "button", href: file.address, download: true }, `Download ${file.name}`));
    })));
});
