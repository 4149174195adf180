/**
 * `key-value`: are gets, puts, deletes, conditional puts and additions linearizable? Keys are independent, so each is checked alone (locality,
 * Herlihy and Wing 1990). Fields of "invoke", and of "ok" after the arrow; keys and values are any JSON, compared by content:
 *
 *   op "get", key                      -> value; without it, the key was not there
 *   op "put", key, value
 *   op "delete", key
 *   op "cas", key, expected?, value?   -> applied: boolean. Writes `value` (without it: deletes) if the value is `expected` (without it: not there)
 *   op "add", key, by                  -> value?: the new number. An absent key counts as 0; a key with additions holds numbers only
 */
import {
  type Call,
  canonical,
  type Decoded,
  type Fields,
  type Finding,
  placeOf,
  type Report,
  short,
  unknownField,
} from './events.ts'
import {
  type Operation,
  type RegisterInput,
  type RegisterOutput,
  registerModel,
  searchLinearization,
} from './linearizability.ts'

export type KeyValueOperation = Operation<RegisterInput, RegisterOutput> & { readonly call: Call }

const fieldsOf: Readonly<Record<string, { readonly input: readonly string[]; readonly output: readonly string[] }>> = {
  get: { input: ['op', 'key'], output: ['value'] },
  put: { input: ['op', 'key', 'value'], output: [] },
  delete: { input: ['op', 'key'], output: [] },
  cas: { input: ['op', 'key', 'expected', 'value'], output: ['applied'] },
  add: { input: ['op', 'key', 'by'], output: ['value'] },
}

const textOf = (fields: Fields, name: string): string | undefined =>
  fields.has(name) ? canonical(fields.get(name)) : undefined

/** By key, as JSON. Failed calls are left out. */
export function keyValueOperations(calls: readonly Call[]): Decoded<ReadonlyMap<string, KeyValueOperation[]>> {
  const byKey = new Map<string, KeyValueOperation[]>()
  const summed = new Set<string>()
  for (const [client, call] of calls.entries()) {
    const wrong = (problem: string, line = call.line) => ({ ok: false, problem: `line ${line}: ${problem}` }) as const
    const { input: fields, output: answer, outcome } = call
    const op = fields.get('op')
    const names = typeof op === 'string' && Object.hasOwn(fieldsOf, op) ? fieldsOf[op] : undefined
    if (names === undefined) return wrong('"op" must be "get", "put", "delete", "cas" or "add"')
    const odd = unknownField(fields, names.input)
    if (odd !== undefined) return wrong(`${op} has no field ${JSON.stringify(odd)}`)
    const key = textOf(fields, 'key')
    if (key === undefined) return wrong('"key" is missing')
    if (outcome === 'failed') continue
    const input = inputOf(op as string, fields)
    if (typeof input === 'string') return wrong(input)
    if (input.type === 'add') summed.add(key)
    let output: RegisterOutput | undefined
    if (outcome === 'ok') {
      const endLine = call.endLine!
      const oddAnswer = unknownField(answer, names.output)
      if (oddAnswer !== undefined) return wrong(`${op} answers no ${JSON.stringify(oddAnswer)}`, endLine)
      const applied = answer.get('applied')
      if (op === 'cas' && typeof applied !== 'boolean') return wrong('"applied" must be true or false', endLine)
      if (op === 'get' || (op === 'add' && answer.has('value')))
        output = { type: 'value', value: textOf(answer, 'value') }
      else output = { type: 'done', applied: applied !== false }
    }
    const operation = { client, input, output, called: call.line, returned: call.endLine, call }
    const list = byKey.get(key)
    if (list === undefined) byKey.set(key, [operation])
    else list.push(operation)
  }
  for (const key of summed) {
    const odd = byKey.get(key)!.find(({ input }) => 'value' in input && !isNumber(input.value))
    if (odd !== undefined)
      return { ok: false, problem: `line ${odd.call.line}: key ${short(key)} has additions and must hold numbers` }
  }
  return { ok: true, value: byKey }
}

const isNumber = (text: string | undefined): boolean => text === undefined || typeof JSON.parse(text) === 'number'

function inputOf(op: string, fields: Fields): RegisterInput | string {
  const value = textOf(fields, 'value')
  const by = fields.get('by')
  switch (op) {
    case 'get':
      return { type: 'read' }
    case 'put':
      return value === undefined ? '"value" is missing' : { type: 'write', value }
    case 'delete':
      return { type: 'write', value: undefined }
    case 'cas':
      return { type: 'compareAndSet', expected: textOf(fields, 'expected'), value }
    default:
      return typeof by === 'number' ? { type: 'add', by } : '"by" must be a number'
  }
}

/**
 * Without what cannot matter. A get without an answer never does; a write without one matters only if some get answers its value, where
 * gets are all that looks: taken out of any order, it takes no get with it, since none stands between it and the next write.
 */
export function withoutIdleUnknowns(operations: readonly KeyValueOperation[]): readonly KeyValueOperation[] {
  const known = operations.filter(({ input, returned }) => returned !== undefined || input.type !== 'read')
  if (known.some(({ input }) => input.type === 'compareAndSet' || input.type === 'add')) return known
  const seen = new Set(known.flatMap(({ output }) => (output?.type === 'value' ? [output.value] : [])))
  return known.filter(
    ({ input, returned }) => returned !== undefined || input.type !== 'write' || seen.has(input.value),
  )
}

/** @param statesMax Bound of the search of one key; about 100 bytes each. */
export function checkKeyValue(
  calls: readonly Call[],
  statesMax: number,
  progress: (done: number, total: number) => void = () => {},
): Decoded<Report> {
  const decoded = keyValueOperations(calls)
  if (!decoded.ok) return decoded
  const findings: Finding[] = []
  let done = 0
  for (const [key, operations] of decoded.value) {
    const history = withoutIdleUnknowns(operations)
    const verdict = searchLinearization(registerModel, history, statesMax)
    if (verdict.ok === undefined) {
      findings.push({
        kind: 'undecided',
        allowed: false,
        lines: [],
        explanation: [`key ${short(key)}: no answer within ${statesMax} states (--states allows more)`],
      })
    } else if (!verdict.ok) {
      const { call } = verdict.stuckAt as KeyValueOperation
      const last = verdict.explained.slice(-5) as KeyValueOperation[]
      const values = verdict.possible.map(value => short(value ?? 'nothing')).join(' or ')
      findings.push({
        kind: 'not-linearizable',
        allowed: false,
        lines: [call.line],
        explanation: [
          `key ${short(key)}: no order explains ${describe(verdict.stuckAt)} (${placeOf(call)})`,
          `the key could hold ${values}`,
          `lines 1 to ${call.endLine} are enough to see it; all that returned before line ${call.endLine} can be explained, last in one such order:`,
          ...last.map(one => `  ${describe(one)} (${placeOf(one.call)})`),
        ],
      })
    }
    progress(++done, decoded.value.size)
  }
  const isViolated = findings.some(({ kind }) => kind === 'not-linearizable')
  const verdict = isViolated ? 'violated' : findings.length > 0 ? 'undecided' : 'holds'
  return { ok: true, value: { model: 'key-value', verdict, calls: calls.length, findings } }
}

function describe({ input, output }: Operation<RegisterInput, RegisterOutput>): string {
  const say = (value: string | undefined): string => short(value ?? 'nothing')
  const answer = output === undefined ? ', outcome unknown' : output.type === 'value' ? ` -> ${say(output.value)}` : ''
  switch (input.type) {
    case 'read':
      return `get${answer}`
    case 'write':
      return `${input.value === undefined ? 'delete' : `put ${short(input.value)}`}${answer}`
    case 'compareAndSet':
      return `cas ${say(input.expected)} to ${say(input.value)}${output?.type === 'done' ? ` -> ${output.applied ? 'applied' : 'not applied'}` : answer}`
    case 'add':
      return `add ${input.by}${answer}`
  }
}
