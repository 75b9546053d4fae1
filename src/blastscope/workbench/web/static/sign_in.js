/** Sign in with a name and a password; on this machine the launch address does it. */

import { post } from "./api.js";
import { fill, h } from "./dom.js";
import { boot, main, page } from "./frame.js";

/** @returns {string} a page of this server to go on to */
function next() {
  const path = boot.next ?? "/cases";
  // Browsers pass over tabs and line ends, and take a backslash for a slash.
  return /^\/(?!\/)[!-[\]-~]*$/.test(path) ? path : "/cases";
}

page(() => {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const name = h("input", { name: "name", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const submit = h("button", { type: "submit", class: "primary" }, "Sign in");
  const form = h("form", { class: "panel" },
    h("label", { class: "field" }, "Name", name),
    h("label", { class: "field" }, "Password", password),
    problem, h("div", { class: "actions" }, submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    problem.hidden = true;
    try {
      await post("/api/v1/session", { name: name.value, password: password.value });
      location.assign(next());
    } catch (fault) {
      problem.textContent = fault instanceof Error ? fault.message : String(fault);
      problem.hidden = false;
      password.value = "";
      password.focus();
      submit.disabled = false;
    }
  });
  fill(main, h("h1", {}, "Sign in"),
    boot.loopback && h("p", { class: "notice" }, "On this computer, open the address that ", h("code", {}, "blastscope serve"),
      " printed: it signs you in once. ", boot.used ? "It was used already: start the program again for a new one." : null),
    form, h("p", { class: "quiet" }, boot.disclaimer));
  name.focus();
});
