/** Recorded histories as text: the decoder, the key-value model against brute force, the models of one rule. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CheckOptions, checkHistory, historyModels } from '../../../platform/histories/check.ts'

type Line = Readonly<Record<string, unknown>>
const textOf = (lines: readonly Line[]): string => lines.map(line => JSON.stringify(line)).join('\n')

function verdict(lines: readonly Line[], options: CheckOptions = {}): string {
  const report = checkHistory(textOf(lines), options)
  return report.ok ? report.value.verdict : report.problem
}

/** One after the other. */
const inTurn = (...calls: (readonly [input: Line, output: Line])[]): Line[] =>
  calls.flatMap(([input, output]) => [
    { client: 0, type: 'invoke', ...input },
    { client: 0, type: 'ok', ...output },
  ])

describe('key-value', () => {
  const put = (value: unknown, key: unknown = 'x'): [Line, Line] => [{ op: 'put', key, value }, {}]
  const get = (value?: unknown, key: unknown = 'x'): [Line, Line] => [
    { op: 'get', key },
    value === undefined ? {} : { value },
  ]

  it('knows absent keys, null, content of objects, deletions, conditions and sums', () => {
    expect(verdict(inTurn(get(), put(null), get(null)))).toBe('holds')
    expect(verdict(inTurn(put({ a: 1, b: [2] }), get({ b: [2], a: 1 })))).toBe('holds')
    expect(verdict(inTurn(put(1), [{ op: 'delete', key: 'x' }, {}], get()))).toBe('holds')
    expect(verdict(inTurn(put(1), [{ op: 'delete', key: 'x' }, {}], get(1)))).toBe('violated')
    const cas = (expected: unknown, applied: boolean): [Line, Line] => [
      { op: 'cas', key: 'x', expected, value: 9 },
      { applied },
    ]
    expect(verdict(inTurn(cas(undefined, true), cas(undefined, false), cas(9, true)))).toBe('holds')
    expect(verdict(inTurn(cas(undefined, true), cas(undefined, true)))).toBe('violated')
    const add = (by: number, value: number): [Line, Line] => [{ op: 'add', key: 'n', by }, { value }]
    expect(verdict(inTurn(add(2, 2), add(-3, -1), get(-1, 'n')))).toBe('holds')
    expect(verdict(inTurn(add(2, 2), add(2, 2)))).toBe('violated')
  })

  it('leaves out what failed; what is unknown may have happened, also later', () => {
    const begun = [{ client: 1, type: 'invoke', op: 'put', key: 'x', value: 1 }]
    const failed = [...begun, { client: 1, type: 'fail' }]
    const unknown = [...begun, { client: 1, type: 'info' }]
    expect(verdict([...failed, ...inTurn(get(1))])).toBe('violated')
    for (const open of [begun, unknown]) expect(verdict([...open, ...inTurn(get(), get(1), get(1))])).toBe('holds')
    expect(verdict([...begun, ...inTurn(get(1), get())])).toBe('violated')
  })

  it('says which call, where, and what the key could hold', () => {
    const report = checkHistory(
      textOf([
        ...inTurn(put('a')),
        { client: 1, type: 'invoke', op: 'put', key: 'x', value: 'b' },
        ...inTurn(get('c'), get('d')),
      ]),
    )
    expect(report.ok && report.value.findings[0]?.explanation.slice(0, 3)).toEqual([
      'key "x": no order explains get -> "c" (client 0, lines 4 to 5)',
      'the key could hold "a"',
      'lines 1 to 5 are enough to see it; all that returned before line 5 can be explained, last in one such order:',
    ])
  })

  it('is undecided at its bound instead of going on', () => {
    const writes = Array.from({ length: 12 }, (_, client) => ({
      client,
      type: 'invoke',
      op: 'cas',
      key: 'x',
      expected: client,
      value: client + 1,
    }))
    const lines = [...writes, { client: 99, type: 'invoke', op: 'put', key: 'x', value: 0 }, { client: 99, type: 'ok' }]
    const read = [
      { client: 99, type: 'invoke', op: 'get', key: 'x' },
      { client: 99, type: 'ok', value: 77 },
    ]
    expect(verdict([...lines, ...read], { statesMax: 100 })).toBe('undecided')
    expect(verdict([...lines, ...read])).toBe('violated')
  })

  it('has the verdict of brute force over all orders, on two keys', () => {
    const call = fc.record({
      key: fc.constantFrom('x', 'y'),
      op: fc.constantFrom('get', 'put', 'delete', 'cas'),
      value: fc.constantFrom(1, 2),
      answer: fc.constantFrom(1, 2, undefined),
      applied: fc.boolean(),
      end: fc.constantFrom('ok', 'ok', 'ok', 'info'),
      at: fc.nat(9),
      length: fc.nat(4),
    })
    type Made = typeof call extends fc.Arbitrary<infer T> ? T : never
    const step = (state: ReadonlyMap<string, number>, { op, key, value, answer, applied, end }: Made) => {
      const now = state.get(key)
      const next = new Map(state)
      if (op === 'get') return end === 'info' || now === answer ? next : undefined
      if (op === 'cas' && end === 'ok' && (now === value) !== applied) return undefined
      if (op === 'cas' && now !== value) return next
      if (op === 'delete') next.delete(key)
      else next.set(key, op === 'put' ? value : 3 - value)
      return next
    }
    const search = (left: readonly Made[], state: ReadonlyMap<string, number>): boolean => {
      if (left.every(({ end }) => end === 'info')) return true
      const firstEnd = Math.min(...left.map(({ end, at, length }) => (end === 'ok' ? at + length : 99)))
      return left.some(one => {
        const next = one.at > firstEnd ? undefined : step(state, one)
        return (
          next !== undefined &&
          search(
            left.filter(other => other !== one),
            next,
          )
        )
      })
    }
    let holds = 0
    const numRuns = 3000
    fc.assert(
      fc.property(fc.array(call, { maxLength: 6 }), calls => {
        const events = calls.flatMap(({ key, op, value, answer, applied, end, at, length }, client) => [
          {
            at,
            rank: 0,
            line: {
              client,
              type: 'invoke',
              op,
              key,
              ...(op === 'put' ? { value } : op === 'cas' ? { expected: value, value: 3 - value } : {}),
            },
          },
          {
            at: at + length,
            rank: 1,
            line: {
              client,
              type: end,
              ...(end === 'info' ? {} : op === 'get' ? { value: answer } : op === 'cas' ? { applied } : {}),
            },
          },
        ])
        events.sort((a, b) => a.at - b.at || a.rank - b.rank)
        const expected = search(calls, new Map()) ? 'holds' : 'violated'
        if (expected === 'holds') holds++
        expect(verdict(events.map(({ line }) => line))).toBe(expected)
      }),
      { numRuns },
    )
    expect(Math.min(holds, numRuns - holds)).toBeGreaterThan(300)
  })
})

describe('models of one rule', () => {
  const read = (value: unknown): [Line, Line] => [{ op: 'read' }, { value }]
  const add = (value: unknown): [Line, Line] => [{ op: 'add', value }, {}]
  const by = (amount: number): [Line, Line] => [{ op: 'add', by: amount }, {}]

  it('bank: the total stays', () => {
    const transfer: [Line, Line] = [{ op: 'transfer' }, {}]
    expect(verdict(inTurn(read({ a: 5, b: 5 }), transfer, read({ a: 3, b: 7 })), { model: 'bank' })).toBe('holds')
    expect(verdict(inTurn(read({ a: 5, b: 5 }), transfer, read({ a: 3, b: 5 })), { model: 'bank' })).toBe('violated')
  })

  it('set: nothing added is lost, nothing comes from nowhere', () => {
    expect(verdict(inTurn(add(1), add(2), read([2, 1])), { model: 'set' })).toBe('holds')
    for (const odd of [[1], [1, 2, 3], [1, 2, 2]]) {
      expect(verdict(inTurn(add(1), add(2), read(odd)), { model: 'set' })).toBe('violated')
    }
    const begun = { client: 1, type: 'invoke', op: 'add', value: 3 }
    for (const seen of [[], [3]]) expect(verdict([begun, ...inTurn(read(seen))], { model: 'set' })).toBe('holds')
    expect(verdict([begun, { client: 1, type: 'fail' }, ...inTurn(read([3]))], { model: 'set' })).toBe('violated')
  })

  it('counter: a read lies between what was answered and what was begun', () => {
    const begun = { client: 1, type: 'invoke', op: 'add', by: 2 }
    for (const [value, expected] of [
      [4, 'violated'],
      [5, 'holds'],
      [7, 'holds'],
      [8, 'violated'],
    ] as const) {
      expect(verdict([...inTurn(by(5)), begun, ...inTurn(read(value))], { model: 'counter' })).toBe(expected)
    }
    const during = [...inTurn(by(5)), { client: 2, type: 'invoke', op: 'read' }, ...inTurn(by(-3))]
    for (const [value, expected] of [
      [1, 'violated'],
      [2, 'holds'],
      [5, 'holds'],
      [6, 'violated'],
    ] as const) {
      expect(verdict([...during, { client: 2, type: 'ok', value }], { model: 'counter' })).toBe(expected)
    }
  })
})

describe('the decoder', () => {
  it('names the line and what is wrong with it', () => {
    const problems: readonly (readonly [text: string, options: CheckOptions, problem: string])[] = [
      ['\n{', {}, 'line 2: it is not JSON'],
      ['[]', {}, 'line 1: it is not a JSON object'],
      ['{"client":0,"type":"ok"}', {}, 'line 1: client 0 has no call that could end'],
      [
        '{"client":0,"type":"invoke","op":"pet","key":1}',
        {},
        'line 1: "op" must be "get", "put", "delete", "cas" or "add"',
      ],
      ['{"client":0,"type":"invoke","op":"get","key":1,"valeu":1}', {}, 'line 1: get has no field "valeu"'],
      [
        '{"client":0,"type":"invoke","txn":[["append","x"]]}',
        { model: 'list-append' },
        'line 1: a step of "txn" must be ["append", key, element] or ["read", key, list]',
      ],
      [
        '{"client":0,"type":"invoke","txn":[["append","x",1],["append","x",1]]}',
        { model: 'list-append' },
        'line 1: 1 is appended to "x" a second time (first: line 1); elements must differ',
      ],
    ]
    for (const [text, options, problem] of problems) expect(checkHistory(text, options)).toEqual({ ok: false, problem })
    const twice = { client: 0, type: 'invoke', op: 'get', key: 1 }
    expect(verdict([twice, twice])).toBe('line 2: client 0 calls again, and its call of line 1 has no end')
    expect(verdict([{ ...twice, key: JSON.parse(`${'['.repeat(99)}${']'.repeat(99)}`) }])).toMatch(
      /nested more than 64 deep/,
    )
  })

  it('is total: any lines give a report or a problem, under every model', () => {
    const steps = fc.array(
      fc.oneof(
        fc.jsonValue(),
        fc.tuple(fc.constantFrom('append', 'read'), fc.constantFrom('x', 1), fc.oneof(fc.nat(3), fc.array(fc.nat(3)))),
      ),
      { maxLength: 3 },
    )
    const line = fc.record(
      {
        client: fc.oneof(fc.nat(1), fc.jsonValue()),
        type: fc.constantFrom('invoke', 'ok', 'fail', 'info'),
        op: fc.oneof(
          fc.constantFrom('get', 'put', 'delete', 'cas', 'add', 'read', 'transfer', '__proto__', 'toString'),
          fc.jsonValue(),
        ),
        key: fc.jsonValue(),
        value: fc.jsonValue(),
        by: fc.oneof(fc.double(), fc.jsonValue()),
        applied: fc.oneof(fc.boolean(), fc.jsonValue()),
        txn: fc.oneof(steps, fc.jsonValue()),
      },
      { requiredKeys: ['client', 'type'] },
    )
    const texts = fc.array(
      fc.oneof({ weight: 9, arbitrary: line.map(one => JSON.stringify(one)) }, { weight: 1, arbitrary: fc.string() }),
      { maxLength: 6 },
    )
    fc.assert(
      fc.property(texts, fc.constantFrom(...historyModels), (lines, model) => {
        const report = checkHistory(lines.join('\n'), { model })
        if (!report.ok) expect(report.problem).toMatch(/^line \d+: ./)
        else expect(['holds', 'violated', 'undecided']).toContain(report.value.verdict)
      }),
      { numRuns: process.env.DEEP === '1' ? 50_000 : 2000 },
    )
  })
})
