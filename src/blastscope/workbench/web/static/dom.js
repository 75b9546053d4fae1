/**
 * Build elements without markup strings, so that the pages run under Trusted Types and no text
 * from a file or a person can become code.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Child | readonly (Child | readonly (Child | readonly any[])[])[]} Children lists of any depth */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {Element} element
 * @param {Record<string, any>} attributes
 */
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden")
      /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * @param {Element} element
 * @param {Children[]} children
 */
function append(element, children) {
  for (const child of /** @type {Child[]} */ (children.flat(Infinity))) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Build an HTML element; `onclick` and its like add listeners.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Children} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  append(element, children);
  return element;
}

/**
 * Build an SVG element.
 *
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Children} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = /** @type {SVGElement} */ (document.createElementNS(SVG, tag));
  set(element, attributes);
  append(element, children);
  return element;
}

/** @param {FormData} data @param {string} name @returns {any} the text of a field of a form */
export const textOf = (data, name) => String(data.get(name) ?? "");

/**
 * Replace what an element holds.
 *
 * @param {Element} element
 * @param {...Children} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page lacks the element ${id}.`);
  return /** @type {T} */ (element);
}

const announcements = { turn: 0 };

/**
 * Have a screen reader say something; sighted people see it where it happens.
 *
 * @param {string} text
 */
export function announce(text) {
  const places = document.querySelectorAll("[data-announce]");
  if (!places.length) return;
  announcements.turn = (announcements.turn + 1) % places.length;
  places.forEach((place, index) => {
    place.textContent = index === announcements.turn ? text : "";
  });
}

/**
 * A table with a caption, its head cells named.
 *
 * @param {string} caption
 * @param {(string | {name: string, number?: boolean})[]} columns
 * @param {Children[][]} rows each a list of cells, the first one its head
 * @returns {HTMLTableElement}
 */
export function table(caption, columns, rows) {
  const named = columns.map((column) => (typeof column === "string" ? { name: column } : column));
  return h("table", {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, named.map(({ name, number }) =>
      name ? h("th", { scope: "col", class: number ? "n" : null }, name) : h("td")))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, index) =>
      index === 0 ? h("th", { scope: "row" }, cell) : h("td", { class: named[index]?.number ? "n" : null }, cell))))));
}

/**
 * A place that scrolls sideways if what it holds is wide, by keys as well.
 *
 * @param {string} name what it holds
 * @param {...Children} children
 */
export function scrolling(name, ...children) {
  return h("div", { class: "scroll", role: "region", "aria-label": name, tabindex: 0 }, ...children);
}
