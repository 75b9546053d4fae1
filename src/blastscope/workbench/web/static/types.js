/**
 * Shapes of what the server answers, for editors and `tsc --checkJs`; it holds no code.
 *
 * @typedef {"A" | "N" | "U" | "X" | null} Label
 * @typedef {{id: number, name: string, role: "viewer" | "reader" | "signer" | "admin", has_password: boolean, active?: boolean, locked_until?: string | null}} Person
 * @typedef {{id: number, name: string, synthetic: boolean, digest: string, threshold?: number, calibrated?: boolean, networks?: number}} Model
 * @typedef {{page: string, case: number | null, cell: number | null, next?: string, used?: boolean, person: Person | null, version: string, workbench: string, model: Model | null, disclaimer: string, loopback: boolean, limits: {file_bytes: number, files: number, pixels: number, zip_bytes: number}}} Boot
 * @typedef {{cells: number, unlabelled: number, A: number, N: number, U: number, X: number, flagged: number, noted: number, doubles: number, referred?: number, referred_left?: number, ood?: number, near?: number, disagrees?: number, disagreements: number}} Counts
 * @typedef {{id: number, kind: string, state: "waiting" | "running" | "done" | "failed" | "cancelled", done: number, total: number, reason: string | null}} Job
 * @typedef {{state: "working" | "idle" | "stopped", since: string}} Worker
 * @typedef {{code: "model" | "mixed" | "counted", basis: string, share: number | null, low: number | null, high: number | null, of: number, blasts: number, against: string | null, reason: string | null, message: string | null, left?: number, share_if_unsure_are: [number, number] | null, uncounted?: number | null, doubles?: number | null}} Line
 * @typedef {{id: number, number: number, person: string, blind: boolean, scope: "all" | "random", cells: number, left: number, state: "open" | "finished"}} Reading
 * @typedef {{sent: number, cells: number, prepared: number, scored: number, refused: number, duplicates: number, seconds_left: number | null, job: Job | null}} Progress
 * @typedef {object} Case
 * @property {number} id
 * @property {string} identifier
 * @property {"blood" | "marrow"} material
 * @property {"all" | "random" | "selected"} sampling
 * @property {number} target
 * @property {boolean} blind_first
 * @property {"cells" | "fields"} content
 * @property {number | null} um_per_pixel
 * @property {boolean} synthetic
 * @property {string} created_at
 * @property {string} created_by
 * @property {string} note
 * @property {"receiving" | "preparing" | "scoring" | "review" | "signed" | "reopened"} state
 * @property {Model} model
 * @property {Counts} counts
 * @property {Progress} progress
 * @property {string[]} readers
 * @property {boolean} blind
 * @property {Line | null} share
 * @property {number} rev
 * @property {{size: number, left: number, enlarged: {size: number, before: number, at: string}[]} | null} sample
 * @property {Reading[]} readings
 *
 * @typedef {{id: number, person: string, at: string, rev: number, model: Model | string, digest: string, counts: Counts & {counted_already?: number}, lines: Line[], comment: string, reopened: {person: string, at: string, reason: string} | null}} Signature
 * @typedef {{seq: number, id: string, kind: string, cells: number[] | null, value: any, target: string | null, person: string, reading: number | null, at: string, shown: any, blind: boolean}} HistoryEvent
 */

export {};
