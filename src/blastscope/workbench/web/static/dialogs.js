/** Questions over a page: native dialogs, which hold the focus and close with Escape. */

import { h } from "./dom.js";

/** @typedef {import("./dom.js").Children} Children */

/**
 * Show a dialog and wait until it closes.
 *
 * @param {string} title
 * @param {Children} body
 * @param {{ok?: string, cancel?: string | null, danger?: boolean, wide?: boolean, calm?: boolean,
 *   check?: (form: HTMLFormElement) => Promise<string | null>}} [options] `calm`
 *   puts the focus on Cancel; `check` returns a sentence to show and keep the dialog open, or null
 * @returns {Promise<FormData | null>} what was filled in, or null if it was cancelled
 */
export function ask(title, body, options = {}) {
  const { ok = "OK", cancel = "Cancel", danger = false, wide = false, calm = false, check } = options;
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const heading = `dialog-${Math.random().toString(36).slice(2)}`;
  const submit = h("button", { type: "submit", class: danger ? "primary danger" : "primary" }, ok);
  const form = h("form", { method: "dialog" },
    h("h2", { id: heading }, title), body, problem,
    h("div", { class: "actions" }, submit,
      cancel && h("button", { type: "button", autofocus: calm, onclick: () => dialog.close() }, cancel)));
  const dialog = h("dialog", { "aria-labelledby": heading, class: wide ? "wide" : null }, form);
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  document.body.append(dialog);
  return new Promise((resolve) => {
    /** @type {FormData | null} */
    let result = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (check) {
        submit.disabled = true;
        const sentence = await check(form).finally(() => { submit.disabled = false; });
        problem.hidden = !sentence;
        problem.textContent = sentence;
        if (sentence) return;
      }
      result = new FormData(form);
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus({ preventScroll: true });
      resolve(result);
    });
    dialog.addEventListener("keydown", (event) => event.stopPropagation());
    dialog.showModal();
  });
}

/**
 * @param {string} title
 * @param {Children} body
 * @param {{wide?: boolean}} [options]
 */
export async function tell(title, body, options = {}) {
  await ask(title, body, { ok: "Close", cancel: null, ...options });
}

/**
 * Ask for a line or some lines of text.
 *
 * @param {string} title
 * @param {string} label
 * @param {{value?: string, ok?: string, rows?: number, required?: boolean, hint?: string}} [options]
 * @returns {Promise<string | null>}
 */
export async function askText(title, label, options = {}) {
  const { value = "", ok = "Save", rows = 3, required = false, hint } = options;
  const field = h("textarea", { name: "text", rows, value, maxlength: 2000, required });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      field.form?.requestSubmit();
    }
  });
  const answer = await ask(title,
    h("label", { class: "field" }, label, field, hint && h("small", {}, hint)), { ok });
  return answer ? String(answer.get("text")).trim() : null;
}
