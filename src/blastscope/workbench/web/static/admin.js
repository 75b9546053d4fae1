/** People and their roles, tokens for scripts, jobs, disk, backup, the audit trail. */

import { call, get, post } from "./api.js";
import { ask, tell } from "./dialogs.js";
import { fill, h, scrolling, table, textOf } from "./dom.js";
import { boot, main, page, showFault } from "./frame.js";
import { size, when } from "./words.js";

/** @typedef {import("./types.js").Person} Person */

const ROLES = {
  viewer: "viewer: looks", reader: "reader: labels", signer: "signer: labels, signs, decides", admin: "admin: all, and people",
};

/** @param {() => Promise<any>} act @returns {Promise<string | null>} */
async function said(act) {
  try {
    await act();
    return null;
  } catch (fault) {
    return fault instanceof Error ? fault.message : String(fault);
  }
}

const roleField = (/** @type {string} */ role) => {
  const select = h("select", { name: "role" }, Object.entries(ROLES).map(([value, words]) => h("option", { value }, words)));
  select.value = role;
  return h("label", { class: "field" }, "Role", select);
};
const passwordField = (/** @type {boolean} */ required, /** @type {string} */ hint) =>
  h("label", { class: "field" }, "Password", h("input", { type: "password", name: "password", required, minlength: 8, autocomplete: "new-password" }), h("small", {}, hint));

async function addPerson() {
  const answer = await ask("Add a person", [
    h("label", { class: "field" }, "Name", h("input", { name: "name", required: true, maxlength: 60, autocomplete: "off", autocapitalize: "none" })),
    passwordField(true, "Tell it to the person; they can't see it here."), roleField("reader"),
  ], { ok: "Add", check: (form) => {
    const data = new FormData(form);
    return said(() => post("/api/v1/people", { name: String(data.get("name")).trim(), password: textOf(data, "password"), role: textOf(data, "role") }));
  } });
  if (answer) page(draw);
}

/** @param {Person} person */
async function changePerson(person) {
  const answer = await ask(`Change ${person.name}`, [
    roleField(person.role), passwordField(false, "Leave it empty to keep the old one."),
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "active", checked: person.active !== false }), "May sign in"),
    h("p", {}, h("small", {}, "A change of role, password or access signs the person out everywhere.")),
  ], { ok: "Change", check: (form) => {
    const data = new FormData(form);
    const password = textOf(data, "password");
    return said(() => call("PATCH", `/api/v1/people/${person.id}`, { json: { role: textOf(data, "role"), active: Boolean(data.get("active")), ...(password ? { password } : {}) } }));
  } });
  if (answer) page(draw);
}

async function addToken() {
  /** @type {any} */
  let made;
  const answer = await ask("New token for a script", [
    h("label", { class: "field" }, "What it is for", h("input", { name: "name", required: true, maxlength: 60, autocomplete: "off" })),
    h("label", { class: "field" }, "Days it is valid", h("input", { type: "number", name: "days", min: 1, max: 365, value: 90, required: true })),
  ], { ok: "Make the token", check: (form) => {
    const data = new FormData(form);
    return said(async () => {
      made = await post("/api/v1/tokens", { name: String(data.get("name")).trim(), days: Number(data.get("days")) });
    });
  } });
  if (!answer) return;
  await tell("Copy the token now", [h("p", {}, "It is shown this once. It may do what you may do."), h("p", {}, h("code", {}, made.token))]);
  page(draw);
}

/** @param {any} system @param {HTMLElement} note */
function systemPanel(system, note) {
  return h("section", { class: "panel" }, h("h2", {}, "This server"), h("dl", {},
    h("dt", {}, "blastscope"), h("dd", {}, system.version), h("dt", {}, "Database"), h("dd", {}, system.database),
    system.reference ? [h("dt", {}, "Reference"), h("dd", {}, system.reference)] : null,
    h("dt", {}, "Images"), h("dd", {}, size(system.disk?.images)), h("dt", {}, "Free disk"), h("dd", {}, size(system.disk?.free)),
    h("dt", {}, "Worker"), h("dd", {}, system.worker.state),
    Object.entries(system.versions ?? {}).map(([name, version]) => [h("dt", {}, name), h("dd", {}, String(version))])),
  h("div", { class: "actions" },
    h("button", { type: "button", onclick: () => post("/api/v1/backup").then((job) => fill(note, h("div", { class: "notice good" }, h("p", {}, `The backup runs as job ${job.id}.`))), (fault) => showFault(fault, note)) }, "Back up now"),
    h("button", { type: "button", onclick: () => post("/api/v1/worker/restart").then(() => page(draw), (fault) => showFault(fault, note)) }, "Restart the worker")));
}

async function draw() {
  const [{ people }, { tokens }, system, { entries }] = await Promise.all([
    get("/api/v1/people"), get("/api/v1/tokens"), get("/api/v1/system"), get("/api/v1/audit"),
  ]);
  const note = h("div");
  fill(main, h("div", { class: "head" }, h("h1", {}, "Admin")), note,
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "People"), h("span", { class: "end" }, h("button", { type: "button", onclick: addPerson }, "Add a person"))),
      scrolling("People", table("Who may do what", ["Name", "Role", "Access", ""], people.map((/** @type {Person} */ person) => [
        person.name, ROLES[person.role], person.active === false ? "off" : person.locked_until ? `locked until ${when(person.locked_until)}` : person.has_password ? "by password" : "on this computer only",
        h("button", { type: "button", "aria-label": `Change ${person.name}`, onclick: () => changePerson(person) }, "Change")])))),
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "Tokens for scripts"), h("span", { class: "end" }, h("button", { type: "button", onclick: addToken }, "New token"))),
      tokens?.length ? scrolling("Tokens", table("Each is shown once, when it is made", ["For", "Person", "Made", "Valid until", ""], tokens.map((/** @type {any} */ token) => [
        token.name, token.person ?? boot.person?.name ?? "", when(token.created_at), when(token.expires_at),
        h("button", { type: "button", "aria-label": `Revoke ${token.name}`, onclick: () => call("DELETE", `/api/v1/tokens/${token.id}`).then(() => page(draw), (fault) => showFault(fault, note)) }, "Revoke")]))) : h("p", { class: "quiet" }, "None.")),
    h("div", { class: "columns" }, systemPanel(system, note),
      h("section", { class: "panel" }, h("h2", {}, "Jobs"), system.jobs.length ? scrolling("Jobs", table("The latest", ["No.", "Kind", "State", "Done"], system.jobs.slice(0, 15).map((/** @type {any} */ job) => [
        String(job.id), job.kind, [h("span", { class: "state", "data-state": job.state }, job.state), job.reason ? h("div", {}, h("small", {}, job.reason)) : null,
        ["failed", "cancelled"].includes(job.state) ? [" ", h("button", { type: "button", "aria-label": `Try job ${job.id} again`, onclick: () => post(`/api/v1/jobs/${job.id}/again`).then(() => page(draw), (fault) => showFault(fault, note)) }, "Try again")] : null], job.total ? `${job.done} of ${job.total}` : "–"]))) : h("p", { class: "quiet" }, "None."))),
    h("section", { class: "panel" }, h("h2", {}, "Audit"), scrolling("Audit", table("The latest first", ["When", "Who", "What", "About"], entries.slice(-100).reverse().map((each) => [
      when(each.at), each.person ?? "–", each.what, typeof each.about === "object" ? JSON.stringify(each.about) : String(each.about ?? "")])))));
}

page(draw);
