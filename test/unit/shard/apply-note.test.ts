/** What a checkpoint carries of the state machine: there and back, total, and a restart from it goes on as if nothing had been. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ClusterId, clusterId, index, term, timestamp } from '../../../src/base/ids.ts'
import type { Completion, Done } from '../../../src/platform.ts'
import { type Applied, ApplyMachine } from '../../../src/shard/apply.ts'
import { decodeNote, encodeNote, type Note } from '../../../src/shard/apply-note.ts'
import { type Command, decisions, encodeBody, stampBody } from '../../../src/shard/command.ts'
import type { Kept, PreparedTable } from '../../../src/shard/prepared.ts'
import type { Outcome } from '../../../src/shard/sessions.ts'
import type { Change, Compacted, Engine, EngineSnapshot, Update, View } from '../../../src/storage/engine.ts'
import { MemoryEngine } from '../../../src/storage/memory-engine.ts'
import { damaged } from '../../damaged.ts'

const id = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 32, maxLength: 32 })
const count = fc.nat(2 ** 40)
const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({ type: fc.constant('committed' as const), at: count.map(timestamp) }),
  fc.record({ type: fc.constant('conflict' as const), check: fc.nat(500), found: count.map(timestamp) }),
  fc.constant({ type: 'noSession' as const }),
  fc.constant({ type: 'stale' as const }),
  fc.record({ type: fc.constant('held' as const), by: fc.string({ maxLength: 256 }) }),
  fc.constantFrom('exists' as const, 'full' as const, 'unknown' as const, 'unready' as const).map(type => ({ type })),
  fc.record({ type: fc.constant('decided' as const), decision: fc.constantFrom(...decisions) }),
)
const key = fc.uint8Array({ maxLength: 20 })
const kept: fc.Arbitrary<Kept> = fc.record({
  sinceMs: count,
  write: fc.record({
    serial: count,
    idempotencyKey: fc.constant(undefined),
    checks: fc.array(fc.record({ key, at: count.map(timestamp) }), { maxLength: 3 }),
    ranges: fc.array(
      fc.record({ from: fc.option(key, { nil: undefined }), to: key, at: count.map(timestamp), count: fc.nat() }),
      { maxLength: 2 },
    ),
    ops: fc.array(
      fc.oneof(
        fc.record({ type: fc.constant('put' as const), key, value: key }),
        fc.record({ type: fc.constant('delete' as const), key }),
      ),
      { maxLength: 4 },
    ),
    phase: fc.record({
      type: fc.constant('prepare' as const),
      id: fc.string({ minLength: 1, maxLength: 256 }),
      holdMs: count,
    }),
  }),
})
const prepared: fc.Arbitrary<PreparedTable> = fc
  .record({
    kept: fc.uniqueArray(kept, { maxLength: 5, selector: ({ write }) => write.phase.id }),
    decided: fc.uniqueArray(
      fc.tuple(fc.string(), fc.record({ decision: fc.constantFrom(...decisions), at: count.map(timestamp) })),
      { maxLength: 5, selector: ([one]) => one },
    ),
  })
  .filter(table => table.decided.every(([one]) => !table.kept.some(({ write }) => write.phase.id === one)))
const note: fc.Arbitrary<Note> = fc.record({
  cluster: id.map(clusterId),
  applied: count.map(index),
  timestamp: count.map(timestamp),
  everWritten: fc.boolean(),
  gaveWay: fc.boolean(),
  fingerprint: fc.nat(0xffff_ffff),
  sessions: fc.record({
    sessions: fc.array(
      fc.record({ id, floor: count, outcomes: fc.array(fc.tuple(count, outcome), { maxLength: 5 }) }),
      {
        maxLength: 5,
      },
    ),
    keys: fc.array(fc.tuple(fc.string(), outcome), { maxLength: 5 }),
  }),
  idle: fc
    .tuple(fc.nat(), fc.array(fc.tuple(fc.nat(1000), fc.integer({ min: 1, max: 1000 })), { maxLength: 9 }))
    .map(([behind, steps]) => {
      let at = { index: index(behind + 1), at: timestamp(0) }
      const writes = steps.map(([entries, stamps]) => {
        at = { index: index(at.index + entries), at: timestamp(at.at + stamps) }
        return at
      })
      return { behind: index(behind), writes }
    }),
  prepared,
})

describe('the note of a checkpoint', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(note, value => {
        expect(decodeNote(encodeNote(value))).toEqual({ ok: true, value })
      }),
    )
  })

  it('of an earlier build knows nothing of the entries before it', () => {
    fc.assert(
      fc.property(note, value => {
        const nothing = { kept: [], decided: [] }
        const bytes = encodeNote({ ...value, idle: { behind: index(0), writes: [] }, prepared: nothing })
        const before = bytes.slice(0, bytes.length - 11)
        before[0] = 1
        expect(decodeNote(before)).toEqual({
          ok: true,
          value: { ...value, idle: { behind: value.applied, writes: [] }, prepared: nothing },
        })
        const lately = bytes.slice(0, bytes.length - 2)
        lately[0] = 4
        const { idle } = { idle: { behind: index(0), writes: [] } }
        expect(decodeNote(lately)).toEqual({ ok: true, value: { ...value, idle, prepared: nothing } })
      }),
    )
  })

  it('has no more that is prepared than a machine keeps', () => {
    const withKept = (from: Kept['write'][]) => {
      const base = fc.sample(note, { numRuns: 1, seed: 1 })[0] as Note
      const value = { ...base, prepared: { kept: from.map(write => ({ sinceMs: 1, write })), decided: [] } }
      return decodeNote(encodeNote(value)).ok
    }
    const one = (n: number, ranges: number, keys: number): Kept['write'] => ({
      serial: 1,
      idempotencyKey: undefined,
      checks: Array.from({ length: keys }, (_, i) => ({ key: Uint8Array.of(1, n, i >> 8, i & 255), at: timestamp(1) })),
      ranges: Array.from({ length: ranges }, (_, i) => ({
        from: Uint8Array.of(2, n, i >> 8, i & 255, 0),
        to: Uint8Array.of(2, n, i >> 8, i & 255, 1),
        at: timestamp(1),
        count: 0,
      })),
      ops: [],
      phase: { type: 'prepare', id: `id ${n}`, holdMs: 1 },
    })
    expect(withKept([one(1, 1000, 0), one(2, 24, 0)])).toBe(true)
    expect(withKept([one(1, 1000, 0), one(2, 25, 0)])).toBe(false)
    expect(withKept([one(1, 0, 40_000), one(2, 0, 25_536)])).toBe(true)
    expect(withKept([one(1, 0, 40_000), one(2, 0, 25_537)])).toBe(false)
    const many = Array.from({ length: 1024 }, (_, n) => one(n, 0, 0))
    expect([withKept(many), withKept([...many, one(1024, 0, 0)])]).toEqual([true, false])
  })

  it('is a value or CORRUPT or VERSION_MISMATCH, whatever the bytes', () => {
    const changed = damaged(note, encodeNote)
    fc.assert(
      fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 300 })), bytes => {
        const result = decodeNote(bytes)
        if (!result.ok) expect(['CORRUPT', 'VERSION_MISMATCH']).toContain(result.error.code)
      }),
      { numRuns: 500 },
    )
  })
})

/** An engine with a past: as if it had been opened from a checkpoint. */
class Reopened implements Engine {
  readonly note: Uint8Array
  readonly uncheckpointedBytes = 0
  readonly checkpointing = false
  readonly shared = undefined
  private readonly inner: MemoryEngine
  constructor(inner: MemoryEngine, note: Uint8Array) {
    this.inner = inner
    this.note = note
  }
  get applied() {
    return this.inner.applied
  }
  read<T>(operation: (view: View) => T, done: Completion<T>): void {
    this.inner.read(operation, done)
  }
  peek<T>(operation: (view: View) => T) {
    return this.inner.peek(operation)
  }
  update<T>(operation: (view: View) => Update<T>, applied: Engine['applied'], done: Completion<T>): void {
    this.inner.update(operation, applied, done)
  }
  load(changes: readonly Change[], done: Done): void {
    this.inner.load(changes, done)
  }
  snapshot(done: Completion<EngineSnapshot>): void {
    this.inner.snapshot(done)
  }
  compact(checkpoint: (done: Done) => void, done: Completion<Compacted>): void {
    this.inner.compact(checkpoint, done)
  }
  whenIdle(run: () => void): void {
    run()
  }
  checkpoint(_note: Uint8Array, _durable: (done: Done) => void, done: Done): void {
    done(undefined)
  }
  reset(): void {
    this.inner.reset()
  }
  show(): void {}
  close(): void {
    this.inner.close()
  }
  status() {
    return this.inner.status()
  }
}

describe('a restart from a checkpoint', () => {
  const session = 'a'.repeat(32)
  const cluster = clusterId('c'.repeat(32))

  function run(machine: ApplyMachine, command: Command): Applied | undefined {
    const at = machine.timestamp + 1
    const data = stampBody({ at: timestamp(at), wallMs: 0 }, encodeBody(command))
    let answer: Applied | undefined
    machine.apply([{ index: index(machine.applied + 1), term: term(1), kind: 'command', data }], 0, result => {
      if (!result.ok) throw result.error
      answer = result.value[0]
    })
    return answer
  }

  const put = (serial: number, key: string | undefined = undefined): Command => ({
    type: 'writes',
    session,
    floor: 0,
    writes: [
      {
        serial,
        idempotencyKey: key,
        checks: [],
        ranges: [],
        ops: [{ type: 'put', key: Uint8Array.of(serial), value: Uint8Array.of(serial) }],
      },
    ],
  })

  function withPast(): { engine: MemoryEngine; machine: ApplyMachine } {
    const engine = new MemoryEngine()
    const machine = new ApplyMachine(engine, cluster)
    run(machine, { type: 'openSession', session })
    run(machine, put(1))
    run(machine, put(2, 'once'))
    return { engine, machine }
  }

  const reopen = ({ engine, machine }: ReturnType<typeof withPast>, as: ClusterId = cluster): ApplyMachine =>
    new ApplyMachine(new Reopened(engine, machine.note(cluster)), as)

  it('pitfall 27: a request repeated after it gets its first answer, by serial and by key', () => {
    const again = reopen(withPast())
    expect(again.applied).toBe(3)
    expect(again.hasData).toBe(true)
    expect(run(again, put(1))).toMatchObject({ writes: [{ outcome: { type: 'committed', at: 2 } }] })
    expect(run(again, put(9, 'once'))).toMatchObject({ writes: [{ outcome: { type: 'committed', at: 3 } }] })
    expect(run(again, put(3))).toMatchObject({ writes: [{ outcome: { type: 'committed', at: 6 } }] })
  })

  it('pitfall 19: comes to the same fingerprint as one that never stopped', () => {
    const never = withPast()
    const again = reopen(withPast())
    expect(again.fingerprint).toBe(never.machine.fingerprint)
    for (const machine of [never.machine, again]) for (const serial of [3, 4]) run(machine, put(serial))
    expect(again.fingerprint).toBe(never.machine.fingerprint)
    expect(again.note(cluster)).toEqual(never.machine.note(cluster))
  })

  it("another cluster's checkpoint is not taken over", () => {
    const past = withPast()
    const again = reopen(past, clusterId('d'.repeat(32)))
    expect(again.applied).toBe(0)
    expect(again.hasData).toBe(false)
    expect(past.engine.status()).toMatchObject({ keys: 0, bytes: 0 })
  })
})
