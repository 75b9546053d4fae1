/** A new case: what it is, its files, and how far they are. */

import { get, post } from "./api.js";
import { fill, h, textOf } from "./dom.js";
import { scaleField, scaleForm, scaleOf } from "./fields.js";
import { boot, main, nameCase, page } from "./frame.js";
import { filesOf, Sender } from "./sender.js";
import { counted, duration, size } from "./words.js";

/** @typedef {import("./types.js").Case} Case */
/** @typedef {import("./sender.js").Named} Named */

/** @param {string} name @param {string} value @param {string} words @param {string} [hint] @param {boolean} [checked] */
function radio(name, value, words, hint, checked = false) {
  return h("label", { class: "radio" }, h("input", { type: "radio", name, value, checked, required: true }), words,
    hint ? [" ", h("small", {}, hint)] : null);
}

/** @param {Case} item @param {(files: Named[]) => void} take */
function dropping(item, take) {
  const files = h("input", { type: "file", multiple: true, class: "visually-hidden", tabindex: -1, "aria-label": "Files",
    accept: "image/*,.bmp,.tif,.tiff,.zip", onchange: () => {
      take([...(files.files ?? [])].map((file) => ({ name: file.name, file })));
      files.value = "";
    } });
  const folder = h("input", { type: "file", multiple: true, webkitdirectory: true, class: "visually-hidden", tabindex: -1, "aria-label": "Folder", onchange: () => {
    take([...(folder.files ?? [])].map((file) => ({ name: file.webkitRelativePath || file.name, file })));
    folder.value = "";
  } });
  const place = h("div", { class: "drop" },
    h("p", {}, h("strong", {}, "Drop files, a folder or a zip here"), ", or"),
    h("p", {}, h("button", { type: "button", onclick: () => files.click() }, "Choose files"), " ",
      h("button", { type: "button", onclick: () => folder.click() }, "Choose a folder")),
    h("p", {}, h("small", {}, `${item.content === "fields" ? "Whole fields of one microscope and objective" : "Images of single cells"} (PNG, BMP, TIFF, JPEG, WebP), up to ${size(boot.limits.file_bytes)} each, ${counted(boot.limits.files, "file")} at most. `
      + "If a file name begins with UID_17_, its cell counts for subject 17. Every other file counts for the subject of this case.")), files, folder);
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", async (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (event.dataTransfer) take(await filesOf(event.dataTransfer));
  });
  return place;
}

/** @param {(item: Case) => void} made */
async function form(made) {
  const { models } = await get("/api/v1/models").catch(() => ({ models: [] }));
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const warning = h("p", { class: "notice warn", role: "status", hidden: true });
  const identifier = h("input", { name: "identifier", required: true, maxlength: 60, autocomplete: "off", spellcheck: "false", "aria-describedby": "identifier-hint" });
  const submit = h("button", { type: "submit", class: "primary" }, "Begin, and add files");
  const scale = scaleField();
  scale.hidden = true;
  const whole = h("form", { class: "panel" },
    h("label", { class: "field" }, "Identifier", identifier,
      h("small", { id: "identifier-hint" }, "A number of your own, such as B-0017. No names and no dates of birth.")), warning,
    h("fieldset", {}, h("legend", {}, "Material"),
      radio("material", "blood", "Blood", "200 cells are usual", true), radio("material", "marrow", "Bone marrow", "500 cells are usual")),
    h("fieldset", {}, h("legend", {}, "Which cells are in the files?"),
      radio("sampling", "all", "All nucleated cells of the field or the slide", "", true),
      radio("sampling", "random", "A random sample of them"),
      radio("sampling", "selected", "Cells that somebody selected", "then no share of blasts is ever given")),
    h("fieldset", {}, h("legend", {}, "What does each file show?"),
      radio("content", "cells", "One cell, cut out on black", "", true),
      radio("content", "fields", "A whole field of the smear", "its cells are found and cut out"), scale),
    models.length > 1 ? h("label", { class: "field" }, "Model", h("select", { name: "model" }, models.map((/** @type {any} */ model) =>
      h("option", { value: model.id }, `${model.name}${model.synthetic ? " (synthetic)" : ""}`)))) : null,
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "blind_first" }), "Blind first: ",
      h("small", {}, "you label before you see what the model says")),
    h("label", { class: "field" }, "Note", h("input", { name: "note", maxlength: 500, autocomplete: "off" }), h("small", {}, "May be left empty.")),
    problem, h("div", { class: "actions" }, submit, h("a", { href: "/cases" }, "Cancel")));
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  identifier.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const value = identifier.value.trim();
      const answer = value ? await get(`/api/v1/identifier-check?identifier=${encodeURIComponent(value)}`).catch(() => null) : null;
      const sentences = [...(answer?.taken ? ["This identifier is taken: choose another."] : []), ...(answer?.warnings ?? []).map((each) => each.message)];
      warning.hidden = !sentences.length;
      warning.textContent = sentences.join(" ");
    }, 250);
  });
  whole.addEventListener("change", () => {
    scale.hidden = new FormData(whole).get("content") !== "fields";
  });
  whole.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    problem.hidden = true;
    const data = new FormData(whole);
    try {
      made(await post("/api/v1/cases", {
        identifier: identifier.value.trim(), material: textOf(data, "material"), sampling: textOf(data, "sampling"),
        content: textOf(data, "content"), um_per_pixel: data.get("content") === "fields" ? scaleOf(scale) : null,
        blind_first: Boolean(data.get("blind_first")), model: Number(data.get("model")) || null, note: String(data.get("note") ?? "").trim(),
      }));
    } catch (fault) {
      problem.textContent = fault instanceof Error ? fault.message : String(fault);
      problem.hidden = false;
      submit.disabled = false;
    }
  });
  fill(main, h("div", { class: "head" }, h("h1", {}, "New case")), whole);
  identifier.focus();
}

/** @param {Case} item */
async function sending(item) {
  nameCase(item);
  const sender = new Sender(item.id, boot.limits);
  const bars = h("div");
  const bad = h("div");
  const open = h("a", { class: "button", href: `/cases/${item.id}/gallery` }, "Open the cells");
  /** Why the server did not begin, such as that no file can be used. */
  let stopped = "";
  /** Files of an earlier page, which was closed before all were sent. */
  let waiting = 0;
  const drop = dropping(item, (files) => {
    stopped = "";
    sender.add(files);
  });
  const add = h("details", { open: true }, h("summary", {}, "Add files"), drop);
  fill(main, h("div", { class: "head" }, h("h1", {}, item.identifier), h("span", { class: "end" }, open)), h("div", { class: "panel" }, add),
    h("section", { class: "panel", "aria-label": "Progress" }, h("h2", {}, "Progress"), bars, bad));
  drop.querySelector("button")?.focus();
  let current = item;

  const bar = (/** @type {string} */ words, /** @type {number} */ value, /** @type {number} */ max) => h("div", {},
    h("div", {}, `${words}: ${value} of ${max}`), h("progress", { max: Math.max(1, max), value, "aria-label": words }));

  function draw() {
    const { progress } = current;
    const { job } = progress;
    const busy = sender.left > 0 || ["preparing", "scoring"].includes(current.state);
    const total = progress.cells || (current.content === "cells" ? progress.sent : 0);
    fill(bars,
      sender.total ? bar("Sent", sender.total - sender.left, sender.total) : h("p", { class: "quiet" }, "No files yet."),
      job?.kind === "segment" && job.state !== "failed" ? bar("Fields gone over", job.done, job.total ?? progress.sent) : null,
      busy && total ? [bar("Prepared", progress.prepared, total), bar("Scored", progress.scored, total)] : null,
      sender.hidden ? h("p", { class: "quiet" }, `${counted(sender.hidden, "hidden file")} of the operating system left out.`) : null,
      progress.seconds_left && busy ? h("p", {}, `About ${duration(progress.seconds_left)} left${job?.kind === "score" ? "" : ", before the cells are scored"}.`) : null,
      sender.left ? h("p", {}, "Keep this tab open until all files are sent.") : busy && progress.sent ? h("p", {}, "All files are sent: you can close this tab. The server goes on.") : null,
      waiting && !busy ? h("div", { class: "notice warn" }, h("p", {}, `${counted(waiting, "file")} sent before ${waiting === 1 ? "is" : "are"} not prepared yet. Send the rest, or go on without it.`),
        h("button", { type: "button", onclick: () => sender.ondone() }, "Prepare what was sent")) : null,
      stopped ? h("div", { class: "notice bad", role: "alert" }, h("p", {}, stopped)) : null,
      progress.stopped && job?.state !== "failed" ? h("div", { class: "notice bad" }, h("p", {}, progress.stopped, " ", h("a", { href: `/cases/${item.id}` }, "Open the case"))) : null,
      job?.state === "failed" ? h("div", { class: "notice bad" }, h("p", {}, progress.stopped ?? `Stopped: ${job.reason ?? "the reason is not known"}.`),
        h("button", { type: "button", onclick: async () => {
          await post(`/api/v1/jobs/${job.id}/again`);
          poll();
        } }, "Try again"), job.kind === "segment" ? scaleForm(item, poll) : null) : null,
      !busy && progress.scored ? h("div", { class: "notice good" }, h("p", {}, h("strong", {}, `${counted(progress.scored, "cell")} ready. `),
        h("a", { href: `/cases/${item.id}/gallery` }, "Review them"))) : null);
    open.classList.toggle("primary", !busy && progress.scored > 0);
    problems(progress.refused + sender.failed.length, progress.duplicates);
  }

  let listed = "";

  /** @param {number} refused @param {number} duplicates */
  async function problems(refused, duplicates) {
    const key = `${refused} ${duplicates}`;
    if (key === listed) return;
    listed = key;
    if (!refused && !duplicates) return fill(bad);
    const answers = await Promise.all(["refused", "duplicate"].map((state) => get(`/api/v1/cases/${item.id}/files?state=${state}`).catch(() => ({ files: [] }))));
    const lines = [...answers.flatMap(({ files }) => files).map((file) =>
      `${file.name ?? `File ${file.id}`}${file.sent_by ? `, sent by ${file.sent_by}` : ""}: ${file.reason}`),
    ...sender.failed.map(({ name, reason }) => `${name}: ${reason}`)];
    fill(bad, h("h3", {}, `${counted(refused, "file")} not used, ${counted(duplicates, "duplicate")}`),
      h("ul", {}, lines.slice(0, 20).map((line) => h("li", {}, line))),
      lines.length > 20 ? h("p", {}, `and ${lines.length - 20} more`) : null,
      h("p", {}, h("a", { href: `/api/v1/cases/${item.id}/problems.csv`, download: true }, "Download the list (CSV)")));
  }

  async function poll() {
    const seen = await get(`/api/v1/cases/${item.id}`).catch(() => null);
    if (seen) current = seen;
    draw();
  }

  sender.onchange = draw;
  sender.ondone = async () => {
    waiting = 0;
    try {
      current = await post(`/api/v1/cases/${item.id}/files/done`);
    } catch (fault) {
      stopped = fault instanceof Error ? fault.message : String(fault);
    }
    draw();
  };
  window.addEventListener("beforeunload", (event) => {
    if (sender.left) event.preventDefault();
  });
  waiting = (await get(`/api/v1/cases/${item.id}/files?state=stored`).catch(() => ({ files: [] }))).files.length;
  await poll();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (!document.hidden) await poll();
  }
}

page(async () => {
  const known = Number(new URLSearchParams(location.search).get("case"));
  if (known) await sending(await get(`/api/v1/cases/${known}`));
  else await form((item) => {
    history.replaceState(null, "", `/cases/new?case=${item.id}`);
    page(() => sending(item));
  });
});
