/** What every page has around it: who is signed in, which model, whether all is saved. */

import { call, get, openedIn, Refusal } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { Outbox } from "./outbox.js";
import { askToDrop } from "./refused.js";

/** @typedef {import("./types.js").Boot} Boot */
/** @typedef {import("./types.js").Case} Case */

/** @type {Boot} */
export const boot = JSON.parse(byId("boot").textContent ?? "{}");
openedIn(boot.workbench, boot.person?.id);
export const main = byId("main");
/** Events that wait to be saved; those of a page that was closed are sent by the next one. */
export const outbox = new Outbox(boot.workbench, boot.person?.id ?? 0);

export const may = {
  read: ["reader", "signer", "admin"].includes(boot.person?.role ?? ""),
  sign: ["signer", "admin"].includes(boot.person?.role ?? ""),
  admin: boot.person?.role === "admin",
};

/** @param {Case} item */
export function nameCase(item) {
  const place = document.getElementById("case-name");
  if (place) {
    place.textContent = item.identifier;
    place.title = item.identifier;
    document.title = `${item.identifier} · ${document.title.replace(/^.* · (?=.* · )/, "")}`;
  }
  if (!item.model) return;
  fill(byId("model"), "Model: ", h("strong", {}, item.model.name), item.model.synthetic && [" ", h("span", { class: "drawn" }, "synthetic")]);
}

/** Go to sign in and come back here. */
export function signInAgain() {
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/**
 * Show why a page or a part of it can't be filled.
 * @param {unknown} fault
 * @param {Element} [place]
 */
export function showFault(fault, place = main) {
  if (fault instanceof Refusal && fault.status === 401) return signInAgain();
  const message = fault instanceof Error ? fault.message : String(fault);
  const box = h("div", { class: "notice bad", role: "alert" }, h("p", {}, message),
    h("p", {}, h("button", { type: "button", onclick: () => location.reload() }, "Load the page again")));
  const whole = place === main ? [h("h1", {}, "This page can't be shown"), box] : box;
  if (place === main && main.classList.contains("full")) fill(place, h("div", { class: "empty" }, whole));
  else fill(place, whole);
  if (!(fault instanceof Refusal)) console.error(fault);
}

/**
 * Fill a page, and say so if it fails.
 * @param {() => Promise<void> | void} build
 */
export async function page(build) {
  try {
    await build();
  } catch (fault) {
    showFault(fault);
  }
}

/** @returns {Promise<Case>} the case of this page, named in the bar */
export async function thisCase() {
  const item = await get(`/api/v1/cases/${boot.case}`);
  nameCase(item);
  return item;
}

const saved = document.getElementById("saved");
if (saved) {
  // On every page: what is refused may have been done on another one.
  const why = h("button", { type: "button", id: "not-saved", class: "link", hidden: true, "aria-label": "Why? See the changes that are not saved", onclick: () => askToDrop(outbox) }, "Why?");
  saved.after(why);
  outbox.onstate = (state, waiting, message) => {
    saved.dataset.state = state;
    saved.title = message ?? "";
    why.hidden = state !== "refused";
    saved.textContent = {
      saved: "all saved",
      unsaved: `${waiting} unsaved`,
      offline: `offline, ${waiting} unsaved`,
      refused: `${waiting} not saved`,
    }[state];
    document.dispatchEvent(new CustomEvent("saved", { detail: { state, waiting, message } }));
  };
  outbox.start();
  window.addEventListener("beforeunload", (event) => {
    if (outbox.waiting) event.preventDefault();
  });
}
document.getElementById("sign-out")?.addEventListener("click", async () => {
  await call("DELETE", "/api/v1/session").catch(() => null);
  location.assign("/sign-in");
});
