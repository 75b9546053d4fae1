/** Sign a case, show a signature, reopen a case. */

import { get, post, Refusal } from "./api.js";
import { ask, tell } from "./dialogs.js";
import { h, textOf } from "./dom.js";
import { outbox } from "./frame.js";
import { counted, number, share, when } from "./words.js";

/** @typedef {import("./types.js").Case} Case */
/** @typedef {import("./types.js").Signature} Signature */

/** @param {number[]} cells @param {number} item @param {string} filter */
function listed(cells, item, filter) {
  const shown = cells.slice(0, 12);
  return [shown.map((n, index) => [index ? ", " : "", h("a", { href: `/cases/${item}/cells/${n}` }, String(n))]),
    cells.length > shown.length ? [" and ", h("a", { href: `/cases/${item}/gallery?filter=${filter}` }, `${cells.length - shown.length} more`)] : null];
}

/** @param {Case} item @param {() => void} signed */
export async function askToSign(item, signed) {
  if (outbox.waiting) {
    await tell("Some changes are not saved yet", h("p", {}, `${counted(outbox.waiting, "change")} of yours wait to be saved. Sign when the bar says “all saved”.`
      + (outbox.refused.length ? " The server refused some: “Why?” in the bar tells which." : "")));
    return;
  }
  const sign = await get(`/api/v1/cases/${item.id}/sign`);
  if (!sign.can_sign) {
    await tell("This case can't be signed yet", h("ul", {}, sign.why_not.map((why) => h("li", {}, typeof why === "string" ? why : why.message))));
    return;
  }
  const row = (/** @type {string} */ words, /** @type {number[]} */ cells, /** @type {string} */ filter) =>
    h("p", {}, h("strong", {}, `${words}: ${number(cells.length)}. `), cells.length ? listed(cells, item.id, filter) : null);
  const open = sign.unlabelled_referred.length + sign.unsure.length + sign.open_disagreements.length;
  const answer = await ask(`Sign ${item.identifier}`, [
    row("Referred, without a label", sign.unlabelled_referred, "referred,unlabelled"),
    row("Unsure", sign.unsure, "U"),
    row("Readers differ", sign.open_disagreements, "disagreements"),
    h("p", {}, h("strong", {}, `Without a label: ${number(sign.unlabelled)}. `), sign.unlabelled ? `They are not in the counted share. ${number(sign.neither)} of them the model does not call either: they are in no share.` : ""),
    h("p", {}, "Model: ", h("strong", {}, sign.model?.name ?? item.model.name), h("br"), h("code", {}, sign.model?.digest ?? item.model.digest)),
    sign.without ? h("div", { class: "notice warn" }, h("p", {}, h("strong", {}, `Not complete: ${sign.without}. `),
      "The signature and the report say so. To have this done first, cancel."),
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "without", required: true }), "Sign without it")) : null,
    open ? h("label", { class: "check" }, h("input", { type: "checkbox", name: "seen", required: true }), "I have seen what is left open") : null,
    h("label", { class: "field" }, "Comment", h("textarea", { name: "comment", rows: 2, maxlength: 2000 }), h("small", {}, "May be left empty.")),
    sign.password_needed ? h("label", { class: "field" }, "Your password, again", h("input", { type: "password", name: "password", required: true, autocomplete: "current-password" })) : null,
    h("p", {}, h("small", {}, "After this the case is read-only. To change it, reopen it with a reason; this signature stays in the history.")),
  ], { ok: "Sign", check: async (form) => {
    const data = new FormData(form);
    try {
      await post(`/api/v1/cases/${item.id}/sign`, {
        rev: sign.rev, password: textOf(data, "password") || null, comment: textOf(data, "comment").trim(),
        seen: { unlabelled_referred: sign.unlabelled_referred.length, unsure: sign.unsure.length, open_disagreements: sign.open_disagreements.length,
          files_waiting: sign.files_waiting, unprepared: sign.unprepared, unscored: sign.unscored },
      });
      return null;
    } catch (fault) {
      return fault instanceof Error ? fault.message : String(fault);
    }
  } });
  if (answer) signed();
}

/** @param {Signature} signature */
export function signatureCard(signature) {
  const { counts, reopened } = signature;
  const already = counts.counted_already ?? 0; // signatures of before do not have it
  const line = signature.lines?.find((each) => each.code === "counted");
  return h("div", { class: reopened ? "notice" : "notice good" },
    h("p", {}, h("strong", {}, `Signed by ${signature.person}, ${when(signature.at)}. `),
      `${number(counts.A)} ALL, ${number(counts.N)} normal, ${number(counts.U)} unsure, ${number(counts.X - already)} not a cell, ${already ? `${number(already)} counted already in another field, ` : ""}${number(counts.unlabelled)} without a label. `,
      line && line.share !== null ? `Counted: ${share(line.share)} ALL.` : ""),
    signature.without ? h("p", {}, h("strong", {}, `Signed although ${signature.without}.`)) : null,
    signature.comment ? h("p", {}, `“${signature.comment}”`) : null,
    h("p", {}, h("small", {}, "Model ", h("code", {}, signature.digest))),
    reopened ? h("p", {}, `Reopened by ${reopened.person}, ${when(reopened.at)}: “${reopened.reason}”`) : null);
}

/** @param {Case} item @param {() => void} reopened */
export async function askToReopen(item, reopened) {
  const answer = await ask(`Reopen ${item.identifier}?`, [
    h("p", {}, "The signature stays in the history, with your name and reason."),
    h("label", { class: "field" }, "Reason", h("textarea", { name: "reason", rows: 3, required: true, minlength: 5, maxlength: 2000 })),
  ], { ok: "Reopen", check: async (form) => {
    try {
      await post(`/api/v1/cases/${item.id}/reopen`, { reason: String(new FormData(form).get("reason")).trim() });
      return null;
    } catch (fault) {
      return fault instanceof Refusal ? fault.message : String(fault);
    }
  } });
  if (answer) reopened();
}
