/**
 * Shapes of what the server answers, for editors and `tsc --checkJs`; it holds no code. `Api` is
 * made from the OpenAPI file by `make types`.
 *
 * @typedef {"A" | "N" | "U" | "X" | null} Label
 * @typedef {Api.Boot & {page: string, case: number | null, cell: number | null, next?: string, used?: boolean}} Boot
 * @typedef {Api.Member} Person
 * @typedef {Api.Counts} Counts
 * @typedef {Api.Job} Job
 * @typedef {Api.Worker} Worker
 * @typedef {Api.Line} Line
 * @typedef {Api.Reading} Reading
 * @typedef {Api.Case} Case
 * @typedef {Api.Signature} Signature
 * @typedef {Api.HistoryEvent} HistoryEvent
 */

export {};
