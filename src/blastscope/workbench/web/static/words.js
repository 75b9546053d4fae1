/** Numbers, times and labels as people read them. */

/** @type {Record<string, string>} */
export const LABELS = { A: "ALL", N: "normal", U: "unsure", X: "not a cell" };

/** What a case's state is called. */
export const STATES = {
  receiving: "files are being sent", preparing: "preparing", scoring: "scoring",
  review: "in review", signed: "signed", reopened: "reopened",
};

/** @param {number} value probability or share, 0 to 1 */
export function share(value) {
  return `${(value * 100).toFixed(1)} %`;
}

/** @param {number | null | undefined} value */
export function probability(value) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(2);
  if (text === "1.00" && value < 1) return ">.99";
  if (text === "0.00" && value > 0) return "<.01";
  return text.replace(/^0/, "");
}

/** @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en-GB")} ${count === 1 ? one : many}`;
}

/** @param {{person: string | null, files: number}[]} senders */
export function sentBy(senders) {
  return senders.map(({ person, files }) => `${person ?? "somebody whom an older version did not record"} (${files.toLocaleString("en-GB")})`).join(", ") || "nobody yet";
}

/** @param {number | null | undefined} value */
export function number(value) {
  return value?.toLocaleString("en-GB") ?? "–";
}

/** @param {string | null | undefined} time ISO 8601 */
export function when(time) {
  if (!time) return "–";
  const date = new Date(time);
  return Number.isNaN(date.valueOf()) ? time : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** @param {import("./types.js").Job | null | undefined} job @returns {string | null} why it stopped, or null if it did not */
export function stopped(job) {
  if (job?.state === "cancelled") return "it was cancelled";
  return job?.state === "failed" ? job.reason ?? "the reason is not known" : null;
}

/** @param {number | null | undefined} bytes */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let step = 0;
  let value = bytes;
  while (value >= 1000 && step < units.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${step ? value.toFixed(value < 10 ? 1 : 0) : value} ${units[step]}`;
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
