/** One cell, over the gallery, at an address of its own. */

import { call, get, post, Refusal } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { eventWords } from "./event_words.js";
import { placeInField } from "./fields.js";
import { main } from "./frame.js";
import { actionOf, keyName } from "./keys.js";
import { duration, LABELS, number, probability, size, when } from "./words.js";

/** @typedef {import("./gallery.js").Gallery} Gallery */

const METHOD = "grad-cam";

export class CellView {
  /** @param {Gallery} gallery */
  constructor(gallery) {
    this.gallery = gallery;
    /** @type {HTMLDialogElement | null} */
    this.dialog = null;
    this.n = 0;
    /** @type {any} */
    this.facts = null;
    /** @type {any} */
    this.similar = null;
    /** What the pictures show now. @type {string | undefined} */
    this.shown = undefined;
    /** @type {string | undefined} */
    this.fault = undefined;
    this.overlay = false;
    this.opacity = 0.6;
    this.zoom = 1;
    this.method = METHOD;
    /** @type {Api.MethodJson[]} */
    this.methods = [];
    this.warning = "";
  }

  get overlayShown() {
    return Boolean(this.dialog) && this.overlay && this.gallery.modelShown;
  }

  /** Open or close by what the address says: a link, a reload, or the browser's Back. */
  openFromAddress() {
    const match = location.pathname.match(/\/cells\/(\d+)$/);
    if (match) this.open(Number(match[1]), false);
    else if (this.dialog) this.#shut();
  }

  /** @param {number} n @param {boolean} [push] */
  async open(n, push = true) {
    const { gallery } = this;
    if (!gallery.review.byNumber.has(n)) {
      gallery.states.say(`This case has no cell ${n}.`, "bad");
      return;
    }
    const address = `/cases/${gallery.item.id}/cells/${n}`;
    if (push && !this.dialog) {
      history.pushState({ over: true }, "", address);
    } else if (push) history.replaceState(history.state, "", address);
    this.n = n;
    this.facts = null;
    this.similar = null;
    if (!this.dialog) this.#show();
    this.draw();
    clearTimeout(this.waiting);
    try {
      const facts = await get(`/api/v1/cases/${gallery.item.id}/cells/${n}`);
      if (this.n !== n || !this.dialog) return;
      this.facts = facts;
      this.draw();
      if (gallery.modelShown) this.#similar(n);
    } catch (fault) {
      gallery.states.say(fault instanceof Error ? fault.message : String(fault), "bad");
    }
  }

  #show() {
    this.head = h("div", { class: "cell-head" });
    this.pictures = h("div", { class: "pictures" });
    this.side = h("div", { class: "cell-side" });
    const dialog = h("dialog", { class: "cell", "aria-label": "Cell" }, this.head,
      h("div", { class: "cell-body" }, this.pictures, this.side));
    dialog.addEventListener("keydown", (event) => this.key(event));
    document.body.append(dialog);
    this.dialog = dialog;
    dialog.tabIndex = -1;
    // Not modal, so that the bar above, with what is saved and whose work it is, stays alive.
    main.inert = true;
    window.scrollTo(0, 0);
    dialog.show();
    this.#fit();
    this.resized = new ResizeObserver(() => this.#fit());
    this.resized.observe(document.body);
    dialog.focus();
  }

  /** Leave the bar in sight. */
  #fit() {
    const top = document.querySelector("header")?.getBoundingClientRect().bottom ?? 0;
    if (this.dialog) {
      this.dialog.style.top = `${top}px`;
      this.dialog.style.height = `calc(100vh - ${top}px)`;
    }
  }

  /** Close, and return to the same tile. */
  close() {
    if (history.state?.over) history.back();
    else this.#shut();
  }

  #shut() {
    const { gallery, n } = this;
    this.dialog?.remove();
    this.resized?.disconnect();
    main.inert = false;
    this.dialog = null;
    clearTimeout(this.waiting);
    gallery.remember();
    gallery.reveal(n);
    gallery.grid.box.focus({ preventScroll: true });
    gallery.panels.current();
  }

  /** @param {number} step to the next or the one before, in the filter's order */
  walk(step) {
    const { gallery } = this;
    const place = gallery.places.get(this.n);
    const next = place && gallery.lists[place[0]][place[1] + step];
    if (next) this.open(next.n);
    else announce(step > 0 ? "This is the last cell" : "This is the first cell");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape") {
      this.close();
      event.preventDefault();
      return;
    }
    if (["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName)) return;
    const action = actionOf(event);
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.walk(event.key === "ArrowRight" ? 1 : -1);
    else if (event.key === "[" || event.key === "]") this.setOpacity(this.opacity + (event.key === "]" ? 0.1 : -0.1));
    else if (action === "larger" || action === "smaller") {
      this.zoom = Math.max(1, Math.min(8, this.zoom * (action === "larger" ? 1.5 : 1 / 1.5)));
      this.#zoom();
    } else if (action && action !== "scale") this.gallery.act(action);
    else return;
    event.preventDefault();
  }

  /** What the model says appears or goes at once: labels record whether it was in sight. */
  modelToggled() {
    this.draw();
    if (this.dialog && this.gallery.modelShown && !this.similar) this.#similar(this.n);
  }

  /** @param {number[]} numbers */
  changed(numbers) {
    if (this.dialog && numbers.includes(this.n)) this.draw();
  }

  /** Draw head, pictures and facts again. */
  draw() {
    if (!this.dialog) return;
    const { gallery, facts } = this;
    const cell = gallery.review.byNumber.get(this.n);
    if (!cell) return;
    const place = gallery.places.get(this.n);
    const total = place ? gallery.lists[place[0]].length : 0;
    const focus = document.activeElement?.getAttribute("data-cell");
    fill(/** @type {HTMLElement} */ (this.head),
      h("h2", {}, `Cell ${this.n}`),
      place ? h("span", { class: "quiet" }, `${place[1] + 1} of ${total} in this list`) : null,
      h("span", {}, "Yours: ", h("span", { class: "label", "data-label": cell.label ?? "" }, cell.label ? LABELS[cell.label] : "none"),
        cell.final && !gallery.adjudicating ? [" · decided: ", h("span", { class: "label", "data-label": cell.final }, LABELS[cell.final])] : null, cell.flag ? " ⚑" : ""),
      Object.entries(LABELS).map(([name, words]) => h("button", { type: "button", "data-cell": name, "aria-pressed": String(cell.label === name), disabled: gallery.readOnly, onclick: () => gallery.act(name) },
        keyName(name) ? `${keyName(name)} ${words}` : words)),
      h("span", { class: "end" },
        h("button", { type: "button", "data-cell": "before", onclick: () => this.walk(-1) }, "← Before"),
        h("button", { type: "button", "data-cell": "after", onclick: () => this.walk(1) }, "Next →"),
        h("button", { type: "button", "data-cell": "close", onclick: () => this.close() }, "Close (Esc)")));
    this.#pictures();
    fill(/** @type {HTMLElement} */ (this.side), cell.problem && h("div", { class: "notice bad" }, h("p", {}, `This image could not be used: ${cell.problem}.`)),
      facts ? this.#facts(cell) : h("p", { class: "quiet" }, "Loading…"));
    const again = focus && /** @type {HTMLElement | null} */ (this.dialog.querySelector(`[data-cell="${focus}"]`));
    if (again) again.focus();
    else if (!this.dialog.contains(document.activeElement)) this.dialog.focus();
  }

  #pictures() {
    const place = /** @type {HTMLElement} */ (this.pictures);
    const images = this.facts?.images;
    if (!images) {
      fill(place, h("p", {}, "Loading…"));
      this.shown = undefined;
      return;
    }
    const heat = this.overlay && this.gallery.modelShown ? this.facts.heatmaps?.find((/** @type {any} */ each) => each.method === this.method) : null;
    const address = heat?.state === "done" ? heat.address : null;
    const key = JSON.stringify([images, address, this.facts.field]);
    if (this.shown === key) return;
    this.shown = key;
    const layer = address ? h("img", { class: "overlay", src: address, alt: "Heatmap over the image" }) : null;
    if (layer) layer.style.opacity = String(this.opacity);
    fill(place, h("div", { class: "pair" },
      h("figure", {}, h("div", { class: "stage", "data-zoom": true, tabindex: 0, "aria-label": "The original image", role: "region" },
        h("img", { src: images.original, alt: `Cell ${this.n}, the image as it was ${this.facts.field ? "cut out of its field" : "sent"}` }), layer),
      h("figcaption", {}, this.facts.field ? "Cut out of its field" : "As it was sent", address ? `, with the heatmap at ${Math.round(this.opacity * 100)} %` : "")),
      images.crop && h("figure", {}, h("div", { class: "stage", "data-zoom": true, tabindex: 0, "aria-label": "The cell, cropped", role: "region" },
        h("img", { src: images.crop, alt: `Cell ${this.n}, cropped` })),
      h("figcaption", {}, "Cropped to the cell"))), this.facts.field && placeInField(this.facts.field, this.n));
    this.#zoom();
  }

  #zoom() {
    for (const stage of this.dialog?.querySelectorAll("[data-zoom]") ?? []) {
      stage.classList.toggle("pixel", this.zoom >= 2);
      for (const image of stage.querySelectorAll("img")) image.style.width = image.style.height = `${this.zoom * 100}%`;
    }
  }

  /** @param {import("./review.js").Cell} cell */
  #facts(cell) {
    const { facts, gallery } = this;
    const shown = gallery.modelShown;
    const row = (/** @type {string} */ name, /** @type {import("./dom.js").Children} */ value) => [h("dt", {}, name), h("dd", {}, value)];
    const box = facts.preparation?.box;
    return [
      cell.note && h("p", {}, h("strong", {}, "Note: "), cell.note),
      facts.double_of && h("div", { class: "notice warn" }, h("p", {}, "This may be the same cell as ",
        h("a", { href: `/cases/${gallery.item.id}/cells/${facts.double_of}` }, `cell ${facts.double_of}`),
        " of another field: their pixels are nearly alike. If it is, label one of the two X (do not count), and the cell is counted once."),
      h("img", { class: "twin", src: facts.images.crop.replace(/\/\d+\/crop/, `/${facts.double_of}/crop`), alt: `Cell ${facts.double_of}` })),
      shown && typeof facts.p === "number" && [h("h3", {}, "What the model says"), h("dl", {},
        row("Call", [h("span", { class: "label", "data-label": facts.called ?? "" }, facts.called ? LABELS[facts.called] : "none"), facts.refer ? ", referred to an expert" : ""]),
        row("Probability of ALL", `${probability(facts.p)}${facts.calibrated ? ", calibrated" : ", not calibrated"}`),
        facts.calibrated && facts.p_raw !== null && facts.p_raw !== undefined ? row("Before calibration", probability(facts.p_raw)) : null,
        row("Threshold", probability(facts.threshold)),
        row("Out of distribution", facts.ood === null || facts.ood === undefined ? "not known" : `${facts.ood ? "yes" : "no"}${facts.ood_score === null ? "" : `, score ${facts.ood_score.toFixed(2)}`}`),
        facts.networks?.length > 1 ? row("Each network, not calibrated", facts.networks.map((/** @type {any} */ each) => h("div", {}, `${each.name} ${probability(each.p)}`))) : null),
      this.#heatmap()],
      shown && this.#neighbours(),
      h("h3", {}, "The image"), h("dl", {},
        facts.file ? row("File", facts.file) : null, facts.subject ? row("Subject", facts.subject) : null,
        facts.width ? row("Image", `${facts.width} × ${facts.height} px, ${facts.format}${facts.bytes ? `, ${size(facts.bytes)}` : ""}`) : null,
        facts.field ? row("Field", `${facts.field.number}; at ${facts.field.place[0]}, ${facts.field.place[1]}, ${facts.field.place[2]} × ${facts.field.place[3]} px`) : null,
        facts.field?.quality ? row("Outline", `two outlines agree to ${facts.field.quality.toFixed(2)}`) : null,
        box ? row("Cell found at", `${box[0]}, ${box[1]}; ${box[2]} × ${box[3]} px`) : null,
        facts.preparation ? row("Prepared to", `${facts.preparation.size} px, ${facts.preparation.scale === "crop" ? "cropped to the cell" : "to scale"}`) : null,
        facts.flags?.length ? row("Remarks", facts.flags.join(", ")) : null),
      facts.labels?.length ? [h("h3", {}, "Labels"), h("ul", { class: "plain" }, facts.labels.map((/** @type {any} */ each) =>
        h("li", {}, `${each.person}: ${each.label ? LABELS[each.label] : "none"}, reading ${each.reading}, ${when(each.at)}`)))] : null,
      h("h3", {}, "History"), facts.history?.length
        ? h("ul", { class: "plain" }, facts.history.map((/** @type {any} */ event) => h("li", {}, `${when(event.at)} · ${event.person}: ${eventWords(event)}`)))
        : h("p", { class: "quiet" }, "Nothing yet."),
    ].flat(2);
  }

  toggleOverlay() {
    if (!this.dialog) return;
    if (!this.gallery.modelShown) {
      announce("The model is hidden");
      return;
    }
    this.overlay = !this.overlay;
    if (this.overlay) this.#askHeatmap();
    this.draw();
  }

  /** @param {number} value */
  setOpacity(value) {
    this.opacity = Math.max(0.1, Math.min(1, value));
    const layer = /** @type {HTMLElement | null} */ (this.dialog?.querySelector("img.overlay") ?? null);
    if (layer) layer.style.opacity = String(this.opacity);
  }

  async #askHeatmap() {
    const { n, gallery } = this;
    try {
      if (!this.methods.length) {
        const answer = await get("/api/v1/heatmap-methods");
        this.methods = answer.methods;
        this.warning = answer.warning;
        if (!this.methods.some(({ code }) => code === this.method)) this.method = this.methods[0]?.code ?? METHOD;
      }
      const one = () => this.facts?.heatmaps?.find((/** @type {any} */ each) => each.method === this.method);
      const state = one()?.state ?? "none";
      if (["done", "not-applicable", "failed"].includes(state)) {
        this.draw();
        return;
      }
      if (state === "none") await post(`/api/v1/cases/${gallery.item.id}/cells/${n}/heatmaps`, { method: this.method });
      if (this.n !== n || !this.dialog) return;
      const facts = await get(`/api/v1/cases/${gallery.item.id}/cells/${n}`);
      if (this.n !== n || !this.dialog) return;
      this.facts = facts;
      this.draw();
      if (this.overlay && ["waiting", "running"].includes(one()?.state)) this.waiting = setTimeout(() => this.#askHeatmap(), 1000);
    } catch (fault) {
      this.fault = fault instanceof Refusal ? fault.message : String(fault);
      this.draw();
    }
  }

  #heatmap() {
    const button = h("button", { type: "button", "data-cell": "overlay", "aria-pressed": String(this.overlay), onclick: () => this.toggleOverlay() },
      `Heatmap${keyName("overlay") ? ` (${keyName("overlay")})` : ""}`);
    if (!this.overlay) return [h("h3", {}, "Heatmap"), button];
    const heat = this.facts.heatmaps?.find((/** @type {any} */ each) => each.method === this.method);
    const select = h("select", { "data-cell": "method", "aria-label": "Method", onchange: () => {
      this.method = select.value;
      this.#askHeatmap();
      this.draw();
    } }, this.methods.map(({ code, name, seconds }) => h("option", { value: code }, `${name} (about ${duration(seconds)})`)));
    select.value = this.method;
    const opacity = h("input", { type: "range", "data-cell": "opacity", min: 10, max: 100, step: 10, value: this.opacity * 100, "aria-label": "Strength of the heatmap",
      oninput: () => this.setOpacity(Number(opacity.value) / 100) });
    const states = {
      waiting: "The heatmap waits for its turn.", running: "The heatmap is being made.", none: "The heatmap is asked for.",
      failed: `The heatmap could not be made: ${heat?.reason ?? "the reason is not known"}.`,
      "not-applicable": `This method does not apply to this model: ${heat?.reason ?? ""}`,
      done: "Vermilion: to ALL. Blue: to normal.",
    };
    return [h("h3", {}, "Heatmap"), h("div", { class: "actions" }, button, this.methods.length ? select : null, opacity),
      h("p", {}, this.fault ?? states[/** @type {keyof typeof states} */ (heat?.state ?? "none")],
        heat?.job && ["waiting", "running"].includes(heat.state) ? [" ", h("button", { type: "button", onclick: async () => {
          await call("DELETE", `/api/v1/jobs/${heat.job}`).catch(() => null);
          clearTimeout(this.waiting);
          this.overlay = false;
          this.open(this.n);
        } }, "Cancel")] : null),
      h("div", { class: "notice warn" }, h("p", {}, this.warning))];
  }

  /** @param {number} n */
  async #similar(n) {
    const { gallery } = this;
    try {
      const answer = await get(`/api/v1/cases/${gallery.item.id}/cells/${n}/similar`);
      if (this.n !== n || !this.dialog) return;
      this.similar = answer;
      this.draw();
      const wait = answer.state === "waiting" ? 1500 : ["waiting", "running"].includes(answer.reference.state) ? 5000 : 0;
      clearTimeout(this.again);
      if (wait) this.again = setTimeout(() => this.n === n && this.dialog && this.#similar(n), wait);
    } catch {
      if (this.n === n) this.similar = { state: "none" };
    }
  }

  #neighbours() {
    const { similar, gallery } = this;
    if (!similar) return null;
    if (similar.state === "waiting") return [h("h3", {}, "Similar cells"), h("p", { class: "quiet" }, "Being looked for.")];
    const groups = Object.entries(LABELS).map(([name, words]) => /** @type {const} */ ([words, similar.by_label?.[name] ?? []])).filter(([, cells]) => cells.length);
    return [h("h3", {}, "Similar cells"),
      groups.length ? groups.map(([words, cells]) => [false, true].map((known) => {
        const here = cells.filter((/** @type {any} */ each) => each.reference === known);
        return here.length ? [h("small", {}, known ? `Reference cells of ${here[0].identifier}, labelled ${words}` : `Labelled ${words}`),
          h("div", { class: "neighbours" }, here.map((/** @type {any} */ each) => this.#neighbour(each)))] : null;
      }))
        : h("p", { class: "quiet" }, similar.state === "none" ? "This model gives no features to compare cells by." : "No labelled cell to compare with yet."),
      h("p", {}, h("small", {}, referenceWords(similar.reference, groups.some(([, cells]) => cells.some((/** @type {any} */ each) => each.reference))))),
      similar.state === "ready" && h("button", { type: "button", "data-cell": "similar", onclick: () => {
        const { n } = this;
        gallery.order = `similar:${n}`;
        this.close();
        setTimeout(() => gallery.relist(n), 50);
      } }, "Order the gallery by likeness to this cell")].flat(4);
  }

  /** @param {any} each */
  #neighbour(each) {
    if (each.reference) {
      const words = `Reference cell ${each.cell} of ${each.identifier}, labelled ${LABELS[each.label]}`;
      return h("figure", { class: "reference" }, h("span", { class: "thumb" }, h("img", { src: each.image, alt: words, title: words, draggable: "false" })));
    }
    const image = h("img", { src: each.tile?.sheet ?? "", alt: "", draggable: "false" });
    const side = this.gallery.review.tile;
    const thumb = h("span", { class: "thumb" }, image);
    image.style.width = image.style.height = `${side}px`;
    image.style.objectPosition = `${-(each.tile?.x ?? 0) * side}px ${-(each.tile?.y ?? 0) * side}px`;
    image.style.transform = `scale(${52 / side})`;
    return h("figure", {}, h("a", { href: `/cases/${each.case}/cells/${each.n}`, "aria-label": `Cell ${each.n} of ${each.identifier}, labelled by ${each.reader ?? "nobody"}` }, thumb),
      h("figcaption", {}, h("small", {}, h("span", {}, `cell ${each.n}`), h("span", {}, each.reader ?? ""))));
  }
}

/**
 * Say how the reference stands, and what to keep in mind of its cells.
 * @param {any} reference
 * @param {boolean} shown whether one of its cells is
 */
function referenceWords(reference, shown) {
  const { state, name, cells, done, total, reason } = reference ?? { state: "none" };
  if (state === "none") return "";
  const words = `${name}${reference.synthetic ? " (synthetic)" : ""}`;
  if (state === "ready") {
    const what = `Reference: ${number(cells.A)} ALL and ${number(cells.N)} normal cells of ${words}, labelled there and not by a reader here.`;
    return shown && reference.scale === "crop" ? `${what} They fill their pictures, so their size does not tell.` : what;
  }
  if (state === "other-model") return `The reference ${words} is compared by the model that is served, and another one scored this case.`;
  if (state === "failed" || state === "cancelled") return `The reference ${words} could not be used: ${reason ?? "its job was cancelled"}.`;
  return `The reference ${words} is being computed${total ? `: ${number(done)} of ${number(total)} cells` : ""}.`;
}
