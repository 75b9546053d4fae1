/**
 * Shapes of what the server answers, for editors and `tsc --checkJs`; it holds no code. `Api` is
 * made from the OpenAPI file by `make types`.
 *
 * @typedef {"A" | "N" | "U" | "X" | null} Label
 * @typedef {Api.BootJson & {page: string, case: number | null, cell: number | null, next?: string, used?: boolean}} Boot
 * @typedef {Api.MemberJson} Person
 * @typedef {Api.CountsJson} Counts
 * @typedef {Api.JobJson} Job
 * @typedef {Api.WorkerJson} Worker
 * @typedef {Api.LineJson} Line
 * @typedef {Api.ReadingJson} Reading
 * @typedef {Api.CaseJson} Case
 * @typedef {Api.SignatureJson} Signature
 * @typedef {Api.HistoryEventJson} HistoryEvent
 */

export {};
