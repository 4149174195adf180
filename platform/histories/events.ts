/**
 * Recorded histories: what `harmonydb check FILE` reads. One JSON object a line, for each thing that a client saw, in the order in which
 * it happened in one recorder:
 *
 *   {"client": 0, "type": "invoke", "op": "put", "key": "x", "value": 1}   before the call
 *   {"client": 0, "type": "ok"}                                            after it, with what it answered
 *
 * `client`: a string or a number, with one call at a time. `type`: "invoke"; "ok", the answer is known; "fail", it certainly had no effect;
 * "info", nobody knows. A call without an end is as one with "info". `time`: optional, a number in any unit, for readers only. The other fields belong to the
 * model (key-value.ts, list-append.ts, invariants.ts). Empty lines are skipped; unknown fields and types are errors.
 *
 * Why two lines for a call, and no times that count: a recorder that dies leaves its open calls in the file, which is what they were; and the order of lines is true without
 * clocks that agree.
 */

export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string }

/** Names that the format has for itself are taken out. */
export type Fields = ReadonlyMap<string, unknown>

export interface Call {
  /** As JSON. */
  readonly client: string
  /** Of its "invoke" and of its end, from 1. */
  readonly line: number
  endLine: number | undefined
  outcome: 'ok' | 'failed' | 'unknown'
  readonly input: Fields
  /** Of the line that ended it; empty where there is none. */
  output: Fields
}

const callsMax = 4_000_000
const depthMax = 64
const types = ['invoke', 'ok', 'fail', 'info']

export class History {
  readonly calls: Call[] = []
  private readonly open = new Map<string, Call>()

  /** Says what is wrong with the line, if anything is; the line then counts as absent. */
  add(line: number, text: string): string | undefined {
    if (text.trim() === '') return undefined
    const event = decodeEvent(text)
    if (!event.ok) return event.problem
    const { client, type, fields } = event.value
    const call = this.open.get(client)
    if (type === 'invoke') {
      if (call !== undefined) return `client ${client} calls again, and its call of line ${call.line} has no end`
      if (this.calls.length >= callsMax) return `more than ${callsMax} calls`
      const next: Call = {
        client,
        line,
        endLine: undefined,
        outcome: 'unknown',
        input: fields,
        output: noFields,
      }
      this.open.set(client, next)
      this.calls.push(next)
      return undefined
    }
    if (call === undefined) return `client ${client} has no call that could end`
    this.open.delete(client)
    call.output = fields
    if (type === 'info') return undefined
    call.outcome = type === 'ok' ? 'ok' : 'failed'
    call.endLine = line
    return undefined
  }
}

const noFields: Fields = new Map()

/** Total: any text gives an event or says why not. */
export function decodeEvent(text: string): Decoded<{ client: string; type: string; fields: Fields }> {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return { ok: false, problem: 'it is not JSON' }
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    return { ok: false, problem: 'it is not a JSON object' }
  }
  const fields = new Map<string, unknown>(Object.entries(parsed))
  const client = fields.get('client')
  const type = fields.get('type')
  const time = fields.get('time')
  if (typeof client !== 'string' && typeof client !== 'number')
    return { ok: false, problem: '"client" must be a string or a number' }
  if (typeof type !== 'string' || !types.includes(type))
    return { ok: false, problem: '"type" must be "invoke", "ok", "fail" or "info"' }
  if (time !== undefined && typeof time !== 'number') return { ok: false, problem: '"time" must be a number' }
  for (const name of ['client', 'type', 'time']) fields.delete(name)
  for (const value of fields.values()) {
    if (!isShallow(value, depthMax)) return { ok: false, problem: `it is nested more than ${depthMax} deep` }
  }
  return { ok: true, value: { client: JSON.stringify(client), type, fields } }
}

function isShallow(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  return depth > 0 && Object.values(value).every(one => isShallow(one, depth - 1))
}

/** Equal text for equal JSON: names in order. For what `decodeEvent` accepted. */
export function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([name, one]) => `${JSON.stringify(name)}:${canonical(one)}`).join(',')}}`
}

/** The first name that the model does not know. */
export function unknownField(fields: Fields, names: readonly string[]): string | undefined {
  for (const name of fields.keys()) if (!names.includes(name)) return name
  return undefined
}

/** For people: who, and where in the file. */
export function placeOf({ client, line, endLine }: Pick<Call, 'client' | 'line' | 'endLine'>): string {
  return `client ${client}, ${endLine === undefined ? `line ${line}` : `lines ${line} to ${endLine}`}`
}

export const short = (text: string): string => (text.length > 80 ? `${text.slice(0, 77)}...` : text)

/** What every model answers. */
export interface Report {
  readonly model: string
  /** `undecided`: the bound of the search was reached. */
  readonly verdict: 'holds' | 'violated' | 'undecided'
  readonly calls: number
  readonly findings: readonly Finding[]
}

export interface Finding {
  /** A name that the model documents, such as `G1a`. */
  readonly kind: string
  /** Allowed ones are told, but do not count. */
  readonly allowed: boolean
  /** The lines on which the calls concerned begin. */
  readonly lines: readonly number[]
  /** For people, a line each. */
  readonly explanation: readonly string[]
}
