/** Prepared transactions in the state machine, against a small model: a map of the keys, a list of what is held, and what was decided. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clusterId, index, type Timestamp, term, timestamp } from '../../../src/base/ids.ts'
import { payloadOf } from '../../../src/mvcc/versioned.ts'
import type { Entry } from '../../../src/raft/types.ts'
import { type Applied, type AppliedWrite, ApplyMachine } from '../../../src/shard/apply.ts'
import { decodeNote } from '../../../src/shard/apply-note.ts'
import {
  type Command,
  type Decision,
  decodeBody,
  encodeBody,
  type Phase,
  type RangeCheck,
  stampBody,
  type Write,
  type WriteCheck,
  type WriteOp,
} from '../../../src/shard/command.ts'
import { type Commit, History } from '../../../src/shard/history.ts'
import { decidedMax, preparedBytesMax, preparedMax } from '../../../src/shard/prepared.ts'
import { MemoryEngine } from '../../../src/storage/memory-engine.ts'

const session = 'a'.repeat(32)
const cluster = clusterId('c'.repeat(32))
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const put = (key: number, value: number): WriteOp => ({ type: 'put', key: bytes(key), value: bytes(value) })
const keysMax = 6

function machine() {
  const engine = new MemoryEngine()
  const apply = new ApplyMachine(engine, cluster)
  const entries: Entry[] = []
  return {
    engine,
    apply,
    entries,
    /** As a leader proposes it, unless it is to go as it is. */
    run(command: Command, isFilled = true): Applied | undefined {
      const whole = isFilled ? apply.prepared.filled(command) : command
      const at = timestamp(apply.timestamp + 1)
      const data = stampBody({ at, wallMs: 1000 + apply.applied }, encodeBody(whole))
      const entry: Entry = { index: index(apply.applied + 1), term: term(1), kind: 'command', data }
      entries.push(entry)
      return applyAll(apply, [entry])[0]
    },
    get(key: number): Uint8Array | undefined {
      return contentOf(engine).get(key)
    },
  }
}

function applyAll(apply: ApplyMachine, entries: readonly Entry[]): (Applied | undefined)[] {
  const found: (Applied | undefined)[] = []
  while (found.length < entries.length) {
    const before = found.length
    apply.apply(entries, found.length, results => {
      if (!results.ok) throw results.error
      found.push(...results.value)
    })
    expect(found.length).toBeGreaterThan(before)
  }
  return found
}

function contentOf(engine: MemoryEngine): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>()
  engine.read(
    view => {
      for (let key = 0; key < 256; key++) {
        const stored = view.get(bytes(key))
        if (stored !== undefined) found.set(key, payloadOf(stored))
      }
    },
    () => {},
  )
  return found
}

const writeOf = (serial: number, extra: Partial<Write>): Command => ({
  type: 'writes',
  session,
  floor: 0,
  writes: [{ serial, idempotencyKey: undefined, checks: [], ranges: [], ops: [], ...extra }],
})
const outcomeOf = (applied: Applied | undefined): string =>
  applied?.type === 'writes' ? (applied.writes[0] as AppliedWrite).outcome.type : 'none'
const prepare = (id: string): Phase => ({ type: 'prepare', id, holdMs: 1000 })
const decide = (id: string, decision: Decision): Phase => ({ type: 'decide', id, decision })

/** What the machine is to be, in a few lines. */
class Model {
  readonly state = new Map<number, { readonly at: number; readonly value: number }>()
  readonly held = new Map<string, { readonly write: Write; readonly sinceMs: number }>()
  readonly decided = new Map<string, { readonly decision: Decision; readonly at: number }>()

  /** The outcomes that are right, of which the machine gives one. */
  expected(write: Write, at: number): readonly unknown[] {
    const { phase } = write
    if (phase?.type === 'decide') return [this.decision(phase, write.ops, at)]
    const conflict = this.conflict(write)
    if (conflict !== undefined) return [conflict]
    if (phase !== undefined && (this.held.has(phase.id) || this.decided.has(phase.id))) return [{ type: 'exists' }]
    const blockers = [...this.held].filter(([, { write: one }]) => blocks(one, write)).map(([id]) => id)
    return blockers.length === 0 ? [{ type: 'committed', at }] : blockers.map(by => ({ type: 'held', by }))
  }

  private conflict({ checks, ranges }: Write): unknown {
    for (const [check, { key, at }] of checks.entries()) {
      const found = this.state.get(key[0]!)?.at ?? 0
      if (found !== at) return { type: 'conflict', check, found }
    }
    for (const [i, { from, to, at, count }] of ranges.entries()) {
      const inside = [...this.state].filter(([key]) => key >= from![0]! && key < to![0]!)
      const newer = inside.sort(([a], [b]) => a - b).find(([, entry]) => entry.at > at)
      if (newer !== undefined || inside.length !== count) {
        return { type: 'conflict', check: checks.length + i, found: newer?.[1].at ?? 0 }
      }
    }
    return undefined
  }

  private decision(phase: Extract<Phase, { type: 'decide' }>, ops: readonly WriteOp[], at: number): unknown {
    const known = this.decided.get(phase.id)
    if (known !== undefined) {
      const isSame = (known.decision === 'committed') === (phase.decision === 'committed')
      return isSame ? { type: 'committed', at: known.at } : { type: 'decided', decision: known.decision }
    }
    const held = this.held.get(phase.id)
    if (held === undefined) return { type: 'unknown' }
    const isWhole = phase.decision !== 'committed' || JSON.stringify(held.write.ops) === JSON.stringify(ops)
    return isWhole ? { type: 'committed', at } : { type: 'unready' }
  }

  /** It came to `committed` with its own timestamp. */
  done(write: Write, at: number, sinceMs: number): void {
    const { phase, ops } = write
    if (phase?.type === 'prepare') {
      this.held.set(phase.id, { write, sinceMs })
      return
    }
    if (phase !== undefined) {
      this.held.delete(phase.id)
      this.decided.set(phase.id, { decision: phase.decision, at })
    }
    for (const op of ops) {
      if (op.type === 'put') this.state.set(op.key[0]!, { at, value: op.value[0]! })
      else this.state.delete(op.key[0]!)
    }
  }
}

/** Rule Q2. */
function blocks(held: Write, write: Write): boolean {
  const writes = (one: Write, key: number): boolean => one.ops.some(op => op.key[0] === key)
  const looks = (one: Write, key: number): boolean =>
    one.checks.some(check => check.key[0] === key) ||
    one.ranges.some(({ from, to }) => key >= from![0]! && key < to![0]!)
  for (let key = 0; key < keysMax; key++) {
    if (writes(write, key) && (writes(held, key) || looks(held, key))) return true
    if (write.phase !== undefined && looks(write, key) && writes(held, key)) return true
  }
  return false
}

const ids = ['one', 'two', 'three', 'four', 'five']
const key = fc.nat(keysMax - 1)
const step = fc.record({
  kind: fc.constantFrom('write', 'write', 'prepare', 'prepare', 'decide', 'decide', 'repeat'),
  id: fc.constantFrom(...ids),
  decision: fc.constantFrom<Decision>('committed', 'committed', 'rolledBack', 'expired'),
  isFilled: fc.nat(3).map(n => n > 0),
  keys: fc.array(fc.record({ key, value: fc.nat(255), removes: fc.boolean() }), { maxLength: 3 }),
  checks: fc.array(fc.record({ key, isRight: fc.integer({ min: 0, max: 9 }).map(n => n > 0) }), { maxLength: 2 }),
  range: fc.option(fc.record({ from: key, length: fc.integer({ min: 1, max: 4 }) }), { freq: 2, nil: undefined }),
  again: fc.nat(20),
})
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** What is read is as it is, mostly: whoever prepares has just looked. */
function commandOf(model: Model, serial: number, version: number, one: Step): Command {
  const { kind, id, decision, keys, range } = one
  if (kind === 'decide') return writeOf(serial, { phase: decide(id, decision) })
  const ops = keys.map(({ key: of, value, removes }): WriteOp => {
    return removes ? { type: 'delete', key: bytes(of) } : put(of, value)
  })
  const checks = one.checks.map(({ key: of, isRight }): WriteCheck => {
    return { key: bytes(of), at: timestamp((model.state.get(of)?.at ?? 0) + (isRight ? 0 : 1)) }
  })
  const ranges: RangeCheck[] = []
  if (range !== undefined) {
    const { from, length } = range
    const count = [...model.state.keys()].filter(of => of >= from && of < from + length).length
    ranges.push({ from: bytes(from), to: bytes(from + length), at: timestamp(version), count })
  }
  return writeOf(serial, { ops, checks, ranges, ...(kind === 'prepare' ? { phase: prepare(id) } : {}) })
}

function historyOf({ apply, entries }: ReturnType<typeof machine>): readonly Commit[] {
  const history = new History({
    log: { read: ({ from, through }, done) => done(entries.slice(from - 1, through)) },
    idle: apply.idle,
    applied: () => apply.applied,
    base: () => index(0),
  })
  let found: readonly Commit[] = []
  history.read(index(0), part => {
    if (part === 'gone') throw new Error('gone')
    expect(part.through).toBe(apply.applied)
    found = part.commits
  })
  return found.filter(({ ops }) => ops.length > 0)
}

describe('prepared transactions in the state machine', () => {
  it('are what the model says; one by one, together, from a note in the middle, and read again from the log', () => {
    const seen: Record<string, number> = {}
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 40 }), fc.nat(40), (steps, cut) => {
        const one = machine()
        const model = new Model()
        const commands: Command[] = []
        const first: AppliedWrite[] = []
        const told: Commit[] = []
        one.run({ type: 'openSession', session })
        let note: Uint8Array | undefined
        let content = new MemoryEngine()
        for (const [i, drawn] of steps.entries()) {
          if (i === cut) {
            note = one.apply.note(cluster)
            content = copyOf(one.engine)
          }
          if (drawn.kind === 'repeat') {
            const repeated = commands[drawn.again]
            if (repeated === undefined) continue
            const known = first[drawn.again] as AppliedWrite
            if (known.outcome.type === 'unready') continue
            const answer = (one.run(repeated) as { writes: readonly AppliedWrite[] }).writes[0]
            expect(answer).toMatchObject({ outcome: known.outcome, ops: [] })
            continue
          }
          const command = commandOf(model, commands.length + 1, one.apply.timestamp, drawn)
          const whole = drawn.isFilled ? one.apply.prepared.filled(command) : command
          const [write] = (whole as Extract<Command, { type: 'writes' }>).writes as [Write]
          const at = one.apply.timestamp + 1
          const sinceMs = 1000 + one.apply.applied
          const expected = model.expected(write, at)
          const { writes } = one.run(whole, false) as { writes: readonly AppliedWrite[] }
          const [answer] = writes as [AppliedWrite]
          commands.push(whole)
          first.push(answer)
          seen[answer.outcome.type] = (seen[answer.outcome.type] ?? 0) + 1
          expect(expected).toContainEqual(answer.outcome)
          const isDone = answer.outcome.type === 'committed' && answer.outcome.at === at
          if (isDone) model.done(write, at, sinceMs)
          const ops = isDone && write.phase?.type !== 'prepare' ? write.ops : []
          expect(answer.ops).toEqual(ops)
          if (ops.length > 0) told.push({ index: one.apply.applied, at: timestamp(at), ops })
          const values = new Map([...model.state].map(([of, { value }]) => [of, bytes(value)]))
          expect(contentOf(one.engine)).toEqual(values)
          expect(one.apply.prepared.list().map(({ write: kept, sinceMs: since }) => [kept.phase.id, since])).toEqual(
            [...model.held].map(([id, { sinceMs: since }]) => [id, since]),
          )
        }
        expect(historyOf(one)).toEqual(told)
        const together = machine()
        applyAll(together.apply, one.entries)
        expect(together.apply.note(cluster)).toEqual(one.apply.note(cluster))
        if (note === undefined) return
        const decoded = decodeNote(note)
        if (!decoded.ok) throw decoded.error
        const restored = new ApplyMachine(content, cluster)
        restored.install(decoded.value, error => expect(error).toBeUndefined())
        expect(restored.note(cluster)).toEqual(note)
        applyAll(restored, one.entries.slice(restored.applied))
        expect(restored.note(cluster)).toEqual(one.apply.note(cluster))
        expect(contentOf(content)).toEqual(contentOf(one.engine))
      }),
      { numRuns: 300 },
    )
    for (const type of ['committed', 'conflict', 'held', 'exists', 'unknown', 'decided', 'unready'])
      expect(seen[type], `${type} never came`).toBeGreaterThan(5)
  })

  it('a commit carries what was prepared, and is refused where it says something else', () => {
    const { run, get, apply } = machine()
    run({ type: 'openSession', session })
    run(writeOf(1, { ops: [put(1, 1)], phase: prepare('x') }))
    expect(get(1)).toBeUndefined()
    expect(apply.hasData).toBe(true)
    const bare = writeOf(2, { phase: decide('x', 'committed') })
    expect(run(bare, false)).toMatchObject({ writes: [{ outcome: { type: 'unready' }, ops: [] }] })
    const other = writeOf(2, { ops: [put(1, 2)], phase: decide('x', 'committed') })
    expect(run(other, false)).toMatchObject({ writes: [{ outcome: { type: 'unready' }, ops: [] }] })
    // The same serial again: nothing was remembered of it.
    expect(run(bare)).toMatchObject({ writes: [{ outcome: { type: 'committed', at: 5 }, ops: [put(1, 1)] }] })
    expect(get(1)).toEqual(bytes(1))
    expect(run(writeOf(3, { phase: decide('x', 'committed') }))).toMatchObject({
      writes: [{ outcome: { type: 'committed', at: 5 }, at: 6, ops: [] }],
    })
  })

  it('are bounded in number, in bytes and in locks; what was decided is forgotten in its order', () => {
    const { run, apply } = machine()
    run({ type: 'openSession', session })
    let serial = 0
    const prepared = (id: string, extra: Partial<Write>): string => {
      return outcomeOf(run(writeOf(++serial, { ...extra, phase: prepare(id) })))
    }
    const decided = (id: string): string => outcomeOf(run(writeOf(++serial, { phase: decide(id, 'rolledBack') })))
    for (let i = 0; i < preparedMax; i++) expect(prepared(`id ${i}`, {})).toBe('committed')
    expect(prepared('more', {})).toBe('full')
    for (let i = 0; i < preparedMax; i++) expect(decided(`id ${i}`)).toBe('committed')
    const half = new Uint8Array(preparedBytesMax / 2)
    const heavy = (at: number): Partial<Write> => ({ ops: [{ type: 'put', key: bytes(at), value: half }] })
    expect([prepared('a', heavy(1)), prepared('b', heavy(2)), decided('a'), prepared('b', heavy(2))]).toEqual([
      'committed',
      'full',
      'committed',
      'committed',
    ])
    const range = (from: number): RangeCheck => ({
      from: bytes(9, from >> 8, from & 255, 0),
      to: bytes(9, from >> 8, from & 255, 1),
      at: timestamp(0),
      count: 0,
    })
    const ranges = (from: number, count: number): RangeCheck[] =>
      Array.from({ length: count }, (_, i) => range(from + i))
    expect([prepared('c', { ranges: ranges(0, 1000) }), prepared('d', { ranges: ranges(2000, 25) })]).toEqual([
      'committed',
      'full',
    ])
    // Ranges in which no key can be lock nothing.
    const empty = ranges(2000, 500).flatMap(({ from, to, ...rest }) => [
      { ...rest, from: to, to: from },
      { ...rest, from, to: from },
    ])
    expect(prepared('e', { ranges: empty })).toBe('committed')
    for (const id of ['b', 'c', 'e']) decided(id)
    expect(apply.prepared.status).toEqual({ transactions: 0, keys: 0, bytes: 0 })
    for (let i = 0; i < decidedMax; i++) {
      prepared(`late ${i}`, {})
      decided(`late ${i}`)
    }
    expect(decided('b')).toBe('unknown')
    expect(decided('late 0')).toBe('committed')
    const note = apply.note(cluster)
    const again = decodeNote(note)
    expect(again.ok && again.value.prepared.decided.length).toBe(decidedMax)
  })

  it('a body that is no prepare and no decision is malformed', () => {
    const bad: Partial<Write>[] = [
      { phase: prepare('') },
      { phase: prepare('x'), idempotencyKey: 'k' },
      { phase: decide('x', 'rolledBack'), ops: [put(1, 1)] },
      { phase: decide('x', 'committed'), checks: [{ key: bytes(1), at: timestamp(1) as Timestamp }] },
      { phase: prepare('x'.repeat(1025)) },
    ]
    for (const extra of bad) expect(decodeBody(encodeBody(writeOf(1, extra))).ok).toBe(false)
    for (const extra of [{ phase: prepare('x'.repeat(1024)) }, { phase: decide('x', 'committed'), ops: [put(1, 1)] }])
      expect(decodeBody(encodeBody(writeOf(1, extra))).ok).toBe(true)
    const two = writeOf(1, { phase: prepare('x') }) as Extract<Command, { type: 'writes' }>
    const [write] = two.writes as [Write]
    expect(decodeBody(encodeBody({ ...two, writes: [write, { ...write, serial: 2 }] })).ok).toBe(false)
  })
})

function copyOf(engine: MemoryEngine): MemoryEngine {
  const copy = new MemoryEngine()
  const changes: { key: Uint8Array; value: Uint8Array }[] = []
  engine.read(
    view => {
      for (let at = 0; at < 256; at++) {
        const value = view.get(bytes(at))
        if (value !== undefined) changes.push({ key: bytes(at), value })
      }
    },
    () => {},
  )
  copy.load(changes, error => expect(error).toBeUndefined())
  return copy
}
