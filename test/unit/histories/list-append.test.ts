/** The list-append checker, calibrated: each anomaly by hand, a brute force over all orders, long serial histories, and damage done to them. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkHistory } from '../../../platform/histories/check.ts'
import { type CheckedLevel, isolationLevels } from '../../../platform/histories/list-append.ts'

type Micro = ['append', string, number] | ['read', string] | ['read', string, number[]]
interface Txn {
  readonly micros: Micro[]
  readonly type: 'ok' | 'fail' | 'info'
  readonly begin: number
  readonly end: number
}

/** `begin` and `end` are places in the order of lines; ties: beginnings first. */
function linesOf(txns: readonly Txn[]): string {
  const events = txns.flatMap(({ micros, type, begin, end }, client) => [
    {
      at: begin,
      rank: 0,
      line: { client, type: 'invoke', txn: micros.map(micro => micro.slice(0, micro[0] === 'read' ? 2 : 3)) },
    },
    ...(type === 'info' ? [] : [{ at: end, rank: 1, line: { client, type, txn: micros } }]),
  ])
  events.sort((a, b) => a.at - b.at || a.rank - b.rank)
  return events.map(({ line }) => JSON.stringify(line)).join('\n')
}

function kindsOf(text: string, level: CheckedLevel): string[] {
  const report = checkHistory(text, { model: 'list-append', level })
  if (!report.ok) throw new Error(report.problem)
  const forbidden = report.value.findings.filter(({ allowed }) => !allowed)
  expect(report.value.verdict).toBe(forbidden.length === 0 ? 'holds' : 'violated')
  return [...new Set(forbidden.map(({ kind }) => kind))].sort()
}

const txn = (...micros: Micro[]): Txn => ({ micros, type: 'ok', begin: 0, end: 1 })
const aborted = (...micros: Micro[]): Txn => ({ ...txn(...micros), type: 'fail' })
const later = (at: number, one: Txn): Txn => ({ ...one, begin: at, end: at + 1 })

const anomalies: readonly (readonly [name: string, kind: string, weakest: CheckedLevel, txns: readonly Txn[]])[] = [
  [
    'dirty write',
    'G0',
    'read-committed',
    [
      txn(['append', 'x', 1], ['append', 'y', 1]),
      txn(['append', 'x', 2], ['append', 'y', 2]),
      txn(['read', 'x', [1, 2]]),
      txn(['read', 'y', [2, 1]]),
    ],
  ],
  ['aborted read', 'G1a', 'read-committed', [aborted(['append', 'x', 1]), txn(['read', 'x', [1]])]],
  [
    'intermediate read',
    'G1b',
    'read-committed',
    [txn(['append', 'x', 1], ['append', 'x', 2]), txn(['read', 'x', [1]])],
  ],
  [
    'circular information flow',
    'G1c',
    'read-committed',
    [txn(['append', 'x', 1], ['read', 'y', [2]]), txn(['append', 'y', 2], ['read', 'x', [1]])],
  ],
  [
    'own appends turned round',
    'incompatible-order',
    'read-committed',
    [txn(['append', 'x', 1], ['append', 'x', 2], ['append', 'x', 3]), txn(['read', 'x', [2, 1, 3]])],
  ],
  ['an element that nobody appended', 'garbage', 'read-committed', [txn(['read', 'x', [7]])]],
  ['an element twice', 'duplicate', 'read-committed', [txn(['append', 'x', 1]), txn(['read', 'x', [1, 1]])]],
  ['own append not seen', 'internal', 'read-committed', [txn(['append', 'x', 1], ['read', 'x', []])]],
  ['own append seen early', 'internal', 'read-committed', [txn(['read', 'x', [1]], ['append', 'x', 1])]],
  [
    'two orders of a list',
    'incompatible-order',
    'read-committed',
    [txn(['append', 'x', 1]), txn(['append', 'x', 2]), txn(['read', 'x', [1, 2]]), txn(['read', 'x', [2, 1]])],
  ],
  [
    'lost update',
    'lost-update',
    'snapshot',
    [
      txn(['read', 'x', []], ['append', 'x', 1]),
      txn(['read', 'x', []], ['append', 'x', 2]),
      later(2, txn(['read', 'x', [1, 2]])),
    ],
  ],
  [
    'lost update that nobody reads',
    'lost-update',
    'snapshot',
    [txn(['read', 'x', []], ['append', 'x', 1]), txn(['read', 'x', []], ['append', 'x', 2])],
  ],
  [
    'read skew',
    'G-single',
    'snapshot',
    [txn(['append', 'x', 1], ['append', 'y', 1]), txn(['read', 'x', []], ['read', 'y', [1]])],
  ],
  [
    'non-repeatable read',
    'G-single',
    'snapshot',
    [txn(['append', 'x', 1]), txn(['read', 'x', []], ['read', 'x', [1]])],
  ],
  [
    'long fork',
    'G-nonadjacent',
    'snapshot',
    [
      txn(['append', 'x', 1]),
      txn(['append', 'y', 1]),
      txn(['read', 'x', [1]], ['read', 'y', []]),
      txn(['read', 'x', []], ['read', 'y', [1]]),
    ],
  ],
  [
    'write skew',
    'G2-item',
    'serializable',
    [txn(['read', 'x', []], ['append', 'y', 1]), txn(['read', 'y', []], ['append', 'x', 1])],
  ],
  [
    'the read-only anomaly (Fekete, O’Neil, O’Neil 2004)',
    'G2-item',
    'serializable',
    [
      txn(['read', 'x', []], ['read', 'y', []], ['append', 'x', 1]),
      txn(['read', 'y', []], ['append', 'y', 1]),
      txn(['read', 'x', []], ['read', 'y', [1]]),
    ],
  ],
  [
    'stale read',
    'G-single-realtime',
    'strict-serializable',
    [txn(['append', 'x', 1]), later(2, txn(['read', 'x', []]))],
  ],
  [
    'appends in the wrong order of time',
    'G0-realtime',
    'strict-serializable',
    [txn(['append', 'x', 1]), later(2, txn(['append', 'x', 2])), later(4, txn(['read', 'x', [2, 1]]))],
  ],
]

describe('anomalies', () => {
  it.each(anomalies)('%s is %s, forbidden from %s on', (_name, kind, weakest, txns) => {
    for (const level of isolationLevels) {
      const isForbidden = isolationLevels.indexOf(level) >= isolationLevels.indexOf(weakest)
      const kinds = kindsOf(linesOf(txns), level)
      if (isForbidden) expect(kinds).toContain(kind)
      else expect(kinds).toEqual([])
    }
  })

  it('an unknown outcome counts as committed where somebody read it, and as nothing otherwise', () => {
    const unknown: Txn = { ...txn(['append', 'x', 1], ['append', 'y', 1]), type: 'info' }
    expect(kindsOf(linesOf([unknown, later(2, txn(['read', 'x', []]))]), 'strict-serializable')).toEqual([])
    expect(kindsOf(linesOf([unknown, later(2, txn(['read', 'x', [1]]))]), 'strict-serializable')).toEqual([])
    expect(
      kindsOf(
        linesOf([unknown, later(2, txn(['read', 'x', [1]])), later(4, txn(['read', 'y', []]))]),
        'strict-serializable',
      ),
    ).toEqual(['G-single-realtime'])
  })

  it('says who, where and what', () => {
    const text = linesOf([txn(['append', 'x', 1], ['append', 'y', 1]), txn(['read', 'x', []], ['read', 'y', [1]])])
    const report = checkHistory(text, { model: 'list-append', level: 'snapshot' })
    expect(report.ok && report.value.findings[0]?.explanation).toEqual([
      '(client 1, lines 2 to 4), (client 0, lines 1 to 3)',
      'T1: client 1, lines 2 to 4',
      'T2: client 0, lines 1 to 3',
      'T1 read "x" without 1, which T2 appended',
      'T1 read 1 in "y", which T2 had appended',
    ])
  })
})

/** Is there an order of the committed transactions, and of some of the unknown ones, in which every read is right? */
function bruteForce(txns: readonly Txn[], isStrict: boolean): boolean {
  const search = (left: readonly Txn[], lists: ReadonlyMap<string, readonly number[]>): boolean => {
    if (left.every(({ type }) => type !== 'ok')) return true
    const firstEnd = Math.min(...left.map(({ type, end }) => (type === 'ok' ? end : Number.POSITIVE_INFINITY)))
    return left.some(one => {
      if (one.type === 'fail' || (isStrict && one.begin > firstEnd)) return false
      const next = new Map(lists)
      for (const [type, key, argument] of one.micros) {
        const list = next.get(key) ?? []
        if (type === 'append') next.set(key, [...list, argument])
        else if (one.type === 'ok' && JSON.stringify(list) !== JSON.stringify(argument)) return false
      }
      return search(
        left.filter(other => other !== one),
        next,
      )
    })
  }
  return search(txns, new Map())
}

const shape = fc.record({
  micros: fc.array(fc.tuple(fc.boolean(), fc.constantFrom('x', 'y'), fc.nat(30)), { minLength: 1, maxLength: 3 }),
  type: fc.constantFrom('ok', 'ok', 'ok', 'ok', 'fail', 'info'),
  begin: fc.nat(9),
  length: fc.nat(6),
})

/** Runs in the order given, each at one moment; a read may be of an earlier version, or damaged, where `odd` says so. */
function runOf(
  shapes: readonly { micros: [boolean, string, number][]; type: string; begin: number; length: number }[],
): Txn[] {
  let element = 0
  const lists = new Map<string, number[]>()
  return shapes.map(({ micros, type, begin, length }): Txn => {
    const made = micros.map(([isAppend, key, odd]): Micro => {
      const list = lists.get(key) ?? []
      if (!isAppend) {
        if (odd < 5) return ['read', key, list.slice(0, odd)]
        if (odd === 5) return ['read', key, [...list].reverse()]
        return ['read', key, list]
      }
      element++
      if (odd === 0 && list.length > 0) lists.set(key, [element, ...list])
      else if (type === 'ok' || odd < 15) lists.set(key, [...list, element])
      return ['append', key, element]
    })
    return { micros: made, type: type as Txn['type'], begin, end: begin + length }
  })
}

describe('against all orders', () => {
  it.each([false, true])('small histories have the verdict of brute force (with real time: %s)', isStrict => {
    let accepted = 0
    let refused = 0
    fc.assert(
      fc.property(fc.array(shape, { maxLength: 5 }), shapes => {
        const txns = runOf(shapes)
        const found = kindsOf(linesOf(txns), isStrict ? 'strict-serializable' : 'serializable')
        const expected = bruteForce(txns, isStrict)
        expect(found.length === 0).toBe(expected)
        if (expected) accepted++
        else refused++
      }),
      { numRuns: 4000 },
    )
    // A generator of one kind only would prove nothing.
    expect(Math.min(accepted, refused)).toBeGreaterThan(300)
  })
})

/** Small numbers, the same everywhere. */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** `count` transactions of ten clients, each taking effect at one moment between its beginning and its end; a key gets 100 appends. */
function serialRun(seed: number, count: number): Txn[] {
  const random = randomOf(seed)
  const lists = new Map<string, number[]>()
  let element = 0
  return Array.from({ length: count }, (_, at): Txn => {
    const micros = Array.from({ length: 1 + random(4) }, (): Micro => {
      const key = `k${Math.floor(element / 500) * 5 + random(5)}`
      const list = lists.get(key) ?? []
      if (random(2) === 0) return ['read', key, list]
      lists.set(key, [...list, ++element])
      return ['append', key, element]
    })
    return { micros, type: random(50) === 0 ? 'info' : 'ok', begin: at * 10 - random(50), end: at * 10 + random(50) }
  })
}

describe('long histories', () => {
  it('serial ones are accepted', () => {
    for (let seed = 1; seed <= 20; seed++)
      expect(kindsOf(linesOf(serialRun(seed, 1000)), 'strict-serializable')).toEqual([])
  })

  it('a read that is stale, has two elements swapped or one dropped is found', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const run = serialRun(seed, 500)
      const reads = run.flatMap(({ micros, type }, at) =>
        type === 'ok'
          ? micros.flatMap((micro, place) => (micro[0] === 'read' && micro[2]!.length > 2 ? [{ at, place }] : []))
          : [],
      )
      const { at, place } = reads[randomOf(seed)(reads.length)]!
      const [, key, list = []] = run[at]!.micros[place]!
      const elements = list as number[]
      const damaged = [elements.slice(1), [...elements.slice(2), elements[1]!, elements[0]!], elements.slice(0, 1)][
        seed % 3
      ]!
      const micros = run[at]!.micros.with(place, ['read', key, damaged])
      expect(kindsOf(linesOf(run.with(at, { ...run[at]!, micros })), 'strict-serializable')).not.toEqual([])
    }
  })
})
