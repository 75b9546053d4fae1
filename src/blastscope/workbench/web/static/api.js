/**
 * The one way to the server: JSON over its REST API, with faults in one shape.
 *
 * `Api` is made from the OpenAPI file by `make types`: addresses, and what each takes and answers.
 */

/** A request that the server answered with a refusal, or that did not reach it (status 0). */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} sentence
   * @param {string} [code] the server's stable code
   * @param {Record<string, string>} [fields] a sentence a field
   */
  constructor(status, sentence, code = "", fields = {}) {
    super(sentence);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

/** Where and by whom this page was opened: the server refuses it once that is another. @type {Record<string, string>} */
let opened = {};

/** @param {string} workbench @param {number | undefined} person */
export function openedIn(workbench, person) {
  opened = person === undefined ? {} : { "X-Blastscope-Workbench": workbench, "X-Blastscope-Person": String(person) };
}

/** @param {any} body @param {number} status */
function sentenceOf(body, status) {
  const { message, fields } = body?.error ?? {};
  const sentences = [message, ...Object.values(fields ?? {})].filter((each) => typeof each === "string" && each);
  return [...new Set(sentences)].join(" ") || `The server refused this (${status}): load the page again.`;
}

/**
 * @template {keyof Api.Paths} Method
 * @template {Api.Paths[Method]} Path
 * @param {Method} method
 * @param {Path} path
 * @param {{json?: Api.Body<Method, Path>, body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal, keepalive?: boolean}} [options]
 * @returns {Promise<Api.Answer<Method, Path>>} the answer's JSON, or null if it has none
 */
export async function call(method, path, options = {}) {
  const { json, body, headers = {}, signal, keepalive } = options;
  let response;
  try {
    response = await fetch(path, {
      method, signal, keepalive, credentials: "same-origin",
      headers: { ...opened, ...(json === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: json === undefined ? body : JSON.stringify(json),
    });
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Refusal(0, "The server did not answer: check that blastscope serve still runs.");
  }
  let text;
  try {
    text = await response.text();
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Refusal(0, "The answer broke off: check that blastscope serve still runs.");
  }
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    answer = text.slice(0, 300);
  }
  if (!response.ok) {
    const { code, fields } = answer?.error ?? {};
    throw new Refusal(response.status, sentenceOf(answer, response.status), code, fields);
  }
  return answer;
}

/**
 * @template {Api.GetPath} Path
 * @param {Path} path
 * @param {AbortSignal} [signal]
 */
export const get = (path, signal) => call("GET", path, { signal });
/**
 * @template {Api.PostPath} Path
 * @param {Path} path
 * @param {Api.Body<"POST", Path>} [json]
 */
export const post = (path, json) => call("POST", path, { json: json ?? /** @type {any} */ ({}) });
