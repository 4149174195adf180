/** The state machine: exactly-once, checks, timestamps, determinism. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../../../src/base/bytes.ts'
import { clusterId, index, term, timestamp } from '../../../src/base/ids.ts'
import { payloadOf, timestampOf } from '../../../src/mvcc/versioned.ts'
import type { Entry } from '../../../src/raft/types.ts'
import { type Applied, type AppliedWrite, ApplyMachine } from '../../../src/shard/apply.ts'
import {
  type Command,
  decodeBody,
  decodeCommand,
  encodeBody,
  stampBody,
  stampsOf,
  type Write,
  type WritesCommand,
} from '../../../src/shard/command.ts'
import { MemoryEngine } from '../../../src/storage/memory-engine.ts'

const session = 'a'.repeat(32)
const other = 'b'.repeat(32)
const cluster = clusterId('c'.repeat(32))
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)

/** With everything in memory the answer is there when the call returns. */
function applyNow(apply: ApplyMachine, entry: Entry): Applied | undefined {
  let applied: Applied | undefined
  apply.apply([entry], 0, result => {
    if (!result.ok) throw result.error
    applied = result.value[0]
  })
  return applied
}

function machine() {
  const engine = new MemoryEngine()
  const apply = new ApplyMachine(engine, cluster)
  let at = 0
  return {
    engine,
    apply,
    /** Of a write what became of it. */
    run(command: Command): Applied | AppliedWrite | undefined {
      const data = stampBody({ at: timestamp(at + 1), wallMs: 0 }, encodeBody(command))
      at += stampsOf(command)
      const applied = applyNow(apply, { index: index(apply.applied + 1), term: term(1), kind: 'command', data })
      return applied?.type === 'writes' && applied.writes.length === 1 ? applied.writes[0] : applied
    },
    get(key: Uint8Array): Uint8Array | undefined {
      let found: Uint8Array | undefined
      engine.read(
        view => view.get(key),
        stored => {
          if (stored.ok) found = stored.value === undefined ? undefined : payloadOf(stored.value)
        },
      )
      return found
    },
  }
}

const write = (serial: number, key: number, value: number, extra: Partial<Write> = {}): Write => ({
  serial,
  idempotencyKey: undefined,
  checks: [],
  ranges: [],
  ops: [{ type: 'put', key: bytes(key), value: bytes(value) }],
  ...extra,
})

const together = (...writes: Write[]): WritesCommand => ({ type: 'writes', session, floor: 0, writes })

const put = (
  serial: number,
  key: number,
  value: number,
  { session: of = session, floor = 0, ...extra }: Partial<Write & WritesCommand> = {},
): WritesCommand => ({ type: 'writes', session: of, floor, writes: [write(serial, key, value, extra)] })

/** A write of it with conditions, from the one at `from` on, was done. */
const hasHeld = (applied: Applied | undefined, command: Command, from = 0): boolean =>
  applied?.type === 'writes' &&
  command.type === 'writes' &&
  command.writes.some(
    ({ checks }, i) => i >= from && checks.length > 0 && applied.writes[i]?.outcome.type === 'committed',
  )

describe('the state machine of a group', () => {
  it('pitfall 27: a repeated serial gets the first answer and is not executed again', () => {
    const { run, get } = machine()
    run({ type: 'openSession', session })
    const first = run(put(1, 7, 1))
    run(put(2, 7, 2))
    expect(first).toMatchObject({ ops: [{ type: 'put' }] })
    expect(run(put(1, 7, 1))).toMatchObject({ outcome: (first as { outcome: unknown }).outcome, ops: [] })
    expect(get(bytes(7))).toEqual(bytes(2))
  })

  it('pitfall 27: without a session nothing is executed', () => {
    const { run, get } = machine()
    expect(run(put(1, 7, 1))).toMatchObject({ outcome: { type: 'noSession' } })
    expect(get(bytes(7))).toBeUndefined()
  })

  it('pitfall 27: a session that thousands of newer ones pushed out is refused, never executed', () => {
    const { run, get } = machine()
    run({ type: 'openSession', session })
    run(put(1, 7, 1))
    for (let i = 0; i < 4096; i++) run({ type: 'openSession', session: i.toString(16).padStart(32, '0') })
    expect(run(put(1, 7, 9))).toMatchObject({ outcome: { type: 'noSession' } })
    expect(get(bytes(7))).toEqual(bytes(1))
  })

  it('pitfall 27: a serial below the floor that its client announced is never executed late', () => {
    const { run, get } = machine()
    run({ type: 'openSession', session })
    run(put(5, 7, 5, { floor: 5 }))
    expect(run(put(3, 7, 3))).toMatchObject({ outcome: { type: 'stale' } })
    expect(get(bytes(7))).toEqual(bytes(5))
  })

  it('an idempotency key works across sessions, and a conflict does not use it up', () => {
    const { run } = machine()
    run({ type: 'openSession', session })
    run({ type: 'openSession', session: other })
    const idempotencyKey = 'order-1'
    const failed = run(put(1, 7, 1, { idempotencyKey, checks: [{ key: bytes(7), at: timestamp(99) }] }))
    expect(failed).toMatchObject({ outcome: { type: 'conflict', check: 0, found: 0 } })
    const done = run(put(2, 7, 1, { idempotencyKey }))
    expect(done).toMatchObject({ outcome: { type: 'committed' } })
    const again = run(put(1, 7, 2, { session: other, idempotencyKey }))
    expect(again).toMatchObject({ outcome: (done as AppliedWrite).outcome })
  })

  it('pitfall 27: what was answered by idempotency key is answered so by serial, when the key is long forgotten', () => {
    const { run, get } = machine()
    run({ type: 'openSession', session })
    run({ type: 'openSession', session: other })
    const idempotencyKey = 'order-1'
    const done = run(put(1, 7, 1, { idempotencyKey })) as AppliedWrite
    const repeated = put(1, 7, 2, { session: other, idempotencyKey })
    expect(run(repeated)).toMatchObject({ outcome: done.outcome })
    // Sixteen thousand keys of 256 characters are more than 4 MiB: the oldest goes.
    for (let i = 2; i < 16_500; i++) {
      run(put(i, 8, 1, { floor: i, idempotencyKey: String(i).padStart(256, 'k') }))
    }
    expect(run(repeated)).toMatchObject({ outcome: done.outcome, ops: [] })
    expect(get(bytes(7))).toEqual(bytes(1))
    // By key alone it is a new write now.
    expect(run(put(2, 7, 3, { session: other, idempotencyKey }))).toMatchObject({ ops: [{ type: 'put' }] })
  })

  it('checks compare the commit timestamp, 0 meaning absent, and all hold or nothing is written', () => {
    const { run, get, engine } = machine()
    run({ type: 'openSession', session })
    expect(run(put(1, 7, 1, { checks: [{ key: bytes(7), at: timestamp(0) }] }))).toMatchObject({
      outcome: { type: 'committed', at: 2 },
    })
    expect(run(put(2, 7, 2, { checks: [{ key: bytes(7), at: timestamp(0) }] }))).toMatchObject({
      outcome: { type: 'conflict', found: 2 },
    })
    const both = [
      { key: bytes(7), at: timestamp(2) },
      { key: bytes(8), at: timestamp(1) },
    ]
    expect(run(put(3, 7, 3, { checks: both }))).toMatchObject({ outcome: { type: 'conflict', check: 1 } })
    expect(get(bytes(7))).toEqual(bytes(1))
    engine.read(
      view => timestampOf(view.get(bytes(7)) as Uint8Array),
      at => expect(at).toEqual({ ok: true, value: 2 }),
    )
  })

  it('gives way to another cluster only while it holds no data', () => {
    const into = clusterId('c'.repeat(32))
    const empty = machine()
    empty.run({ type: 'openSession', session })
    expect(empty.run({ type: 'dissolve', into })).toEqual({ type: 'dissolved', into })
    expect(empty.run(put(1, 7, 1))).toMatchObject({ outcome: { type: 'noSession' } })
    const full = machine()
    full.run({ type: 'openSession', session })
    full.run(put(1, 7, 1))
    full.run(put(2, 7, 1, { ops: [{ type: 'delete', key: bytes(7) }] }))
    expect(full.run({ type: 'dissolve', into })).toBeUndefined()
    expect(full.run(put(3, 7, 1))).toMatchObject({ outcome: { type: 'committed' } })
  })

  it('pitfall 19: replicas that apply the same log come to the same fingerprint, others do not', () => {
    const [a, b, c] = [machine(), machine(), machine()]
    for (const one of [a, b, c]) one.run({ type: 'openSession', session })
    for (const one of [a, b]) one.run(put(1, 7, 1))
    c.run(put(1, 7, 2))
    expect(a.apply.fingerprint).toBe(b.apply.fingerprint)
    expect(a.apply.fingerprint).not.toBe(c.apply.fingerprint)
  })

  it('entries that are taken together leave what they leave one by one, and are answered alike', () => {
    const sessions = [session, other, 'd'.repeat(32)]
    const one = fc.oneof(
      {
        weight: 1,
        arbitrary: fc.constantFrom(...sessions).map((of): Command => ({ type: 'openSession', session: of })),
      },
      { weight: 1, arbitrary: fc.constant<Command>({ type: 'dissolve', into: clusterId('e'.repeat(32)) }) },
      {
        weight: 20,
        arbitrary: fc
          .record({
            of: fc.constantFrom(...sessions),
            serial: fc.nat(12),
            floor: fc.nat(3),
            key: fc.nat(4),
            value: fc.nat(255),
            removes: fc.boolean(),
            idempotencyKey: fc.constantFrom(undefined, undefined, 'one', 'two'),
            check: fc.oneof(fc.constant(undefined), fc.constant(0), fc.nat(15)),
            bytes: fc.constantFrom(1, 1, 1, 9000),
          })
          .map(({ of, serial, floor, key, value, removes, idempotencyKey, check, bytes: length }): Command => {
            const checks = check === undefined ? [] : [{ key: bytes(key), at: timestamp(check) }]
            const op = removes
              ? ({ type: 'delete', key: bytes(key) } as const)
              : ({ type: 'put', key: bytes(key), value: new Uint8Array(length).fill(value) } as const)
            return put(serial, 0, 0, { session: of, floor, idempotencyKey, checks, ops: [op] })
          }),
      },
    )
    let [several, held] = [0, 0]
    fc.assert(
      fc.property(fc.array(one, { maxLength: 40 }), fc.nat(3), (drawn, noops) => {
        const commands: Command[] = [{ type: 'openSession', session }, ...drawn]
        const entries = commands.map((command, i): Entry => {
          const kind = noops > 0 && i % 11 === noops ? 'noop' : 'command'
          const data = stampBody({ at: timestamp(i + 1), wallMs: 0 }, encodeBody(command))
          return { index: index(i + 1), term: term(1), kind, data: kind === 'noop' ? bytes() : data }
        })
        const [single, some] = [machine(), machine()]
        const expected = entries.map(entry => applyNow(single.apply, entry))
        const found: (Applied | undefined)[] = []
        while (found.length < entries.length) {
          some.apply.apply(entries, found.length, results => {
            if (!results.ok) throw results.error
            if (results.value.length > 1) several++
            held += results.value.filter((result, i) => i > 0 && hasHeld(result, commands[found.length + i]!)).length
            found.push(...results.value)
          })
          expect([some.engine.applied, some.apply.applied]).toEqual([found.length, found.length])
        }
        expect(found).toEqual(expected)
        expect(some.apply.note(cluster)).toEqual(single.apply.note(cluster))
        for (let key = 0; key < 5; key++) expect(some.get(bytes(key))).toEqual(single.get(bytes(key)))
      }),
      { numRuns: 200 },
    )
    expect(several).toBeGreaterThan(50)
    expect(held).toBeGreaterThan(20)
  })

  it('writes of one entry leave what they leave in entries of their own, and are answered alike', () => {
    const sessions = [session, other, 'd'.repeat(32)]
    const single = fc
      .record({
        serial: fc.nat(12),
        key: fc.nat(4),
        value: fc.nat(255),
        removes: fc.boolean(),
        idempotencyKey: fc.constantFrom(undefined, undefined, 'one', 'two'),
        seen: fc.array(fc.record({ key: fc.nat(4), at: fc.oneof(fc.constant(0), fc.nat(15)) }), { maxLength: 2 }),
      })
      .map(({ serial, key, value, removes, idempotencyKey, seen }): Write => {
        const checks = seen.map(({ key: of, at }) => ({ key: bytes(of), at: timestamp(at) }))
        const extra = { idempotencyKey, checks }
        return write(
          serial,
          key,
          value,
          removes ? { ...extra, ops: [{ type: 'delete', key: bytes(key) } as const] } : extra,
        )
      })
    const group = fc.oneof(
      {
        weight: 1,
        arbitrary: fc.constantFrom(...sessions).map((of): Command => ({ type: 'openSession', session: of })),
      },
      {
        weight: 4,
        arbitrary: fc
          .record({
            of: fc.constantFrom(...sessions),
            floor: fc.nat(3),
            writes: fc.array(single, { minLength: 1, maxLength: 6 }),
          })
          .map(({ of, floor, writes }): Command => ({ type: 'writes', session: of, floor, writes })),
      },
    )
    let held = 0
    fc.assert(
      fc.property(fc.array(group, { maxLength: 20 }), commands => {
        const [apart, grouped] = [machine(), machine()]
        for (const command of commands) {
          const found = grouped.run(command)
          if (command.type !== 'writes') {
            expect(apart.run(command)).toEqual(found)
            continue
          }
          const expected = command.writes.map(one => apart.run({ ...command, writes: [one] }))
          expect(command.writes.length > 1 ? (found as { writes: unknown }).writes : [found]).toEqual(expected)
          if (command.writes.length > 1 && hasHeld(found as Applied, command, 1)) held++
        }
        expect(grouped.apply.timestamp).toBe(apart.apply.timestamp)
        const idle = (of: typeof apart) => of.apply.idle.export().writes.map(({ at }) => at)
        expect(idle(grouped)).toEqual(idle(apart))
        for (let key = 0; key < 5; key++) expect(grouped.get(bytes(key))).toEqual(apart.get(bytes(key)))
      }),
      { numRuns: 200 },
    )
    expect(held).toBeGreaterThan(20)
  })

  it('a write finds what those before it in its entry did', () => {
    const { run, get } = machine()
    run({ type: 'openSession', session })
    const seen = (at: number, key = 7): Partial<Write> => ({ checks: [{ key: bytes(key), at: timestamp(at) }] })
    const removes = { ops: [{ type: 'delete', key: bytes(7) } as const] }
    expect(
      run(
        together(
          write(1, 7, 1, seen(0)),
          write(2, 7, 2, seen(0)),
          write(3, 7, 3, seen(2)),
          write(4, 7, 0, removes),
          write(5, 8, 5, seen(4)),
          write(6, 8, 6, seen(0)),
          write(7, 9, 7, seen(7, 8)),
          write(8, 9, 8, seen(0, 9)),
        ),
      ),
    ).toMatchObject({
      writes: [
        { outcome: { type: 'committed', at: 2 } },
        { outcome: { type: 'conflict', check: 0, found: 2 } },
        { outcome: { type: 'committed', at: 4 } },
        { outcome: { type: 'committed', at: 5 } },
        { outcome: { type: 'conflict', found: 0 } },
        { outcome: { type: 'committed', at: 7 } },
        { outcome: { type: 'committed', at: 8 } },
        { outcome: { type: 'conflict', found: 8 } },
      ],
    })
    expect([7, 8, 9].map(key => get(bytes(key)))).toEqual([undefined, bytes(6), bytes(7)])
  })

  it('each write of an entry has a version of its own; the next entry goes on behind them', () => {
    const { run, apply } = machine()
    run({ type: 'openSession', session })
    expect(run(together(write(1, 7, 1), write(2, 7, 2), write(3, 8, 3)))).toMatchObject({
      writes: [{ outcome: { at: 2 } }, { outcome: { at: 3 } }, { outcome: { at: 4 } }],
    })
    expect(apply.stateTimestamp).toBe(4)
    expect(run(put(4, 7, 1, { checks: [{ key: bytes(7), at: timestamp(2) }] }))).toMatchObject({
      outcome: { type: 'conflict', found: 3 },
    })
    expect(run(put(5, 7, 1, { checks: [{ key: bytes(7), at: timestamp(3) }] }))).toMatchObject({
      outcome: { type: 'committed', at: 6 },
    })
    const stamped = stampBody({ at: timestamp(6), wallMs: 0 }, encodeBody(put(6, 7, 1)))
    const late: Entry = { index: index(apply.applied + 1), term: term(1), kind: 'command', data: stamped }
    expect(() => applyNow(apply, late)).toThrow('timestamp 6 after 6')
  })

  it('pitfall 12: state and applied index change together', () => {
    const { run, engine, apply } = machine()
    run({ type: 'openSession', session })
    run(put(1, 7, 1))
    expect([engine.applied, apply.applied]).toEqual([2, 2])
    applyNow(apply, { index: index(3), term: term(1), kind: 'noop', data: bytes() })
    expect(engine.applied).toBe(3)
  })

  it('a malformed entry stops the replica instead of being skipped', () => {
    const { apply } = machine()
    expect(() => applyNow(apply, { index: index(1), term: term(1), kind: 'command', data: bytes(1, 2, 3) })).toThrow()
    expect(() =>
      applyNow(apply, { index: index(1), term: term(1), kind: 'command', data: bytes(9, 1, 1, 1) }),
    ).toThrow()
  })
})

describe('the command codec', () => {
  const blob = fc.uint8Array({ maxLength: 40 })
  const id = fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map(b => [...b].map(v => v.toString(16).padStart(2, '0')).join(''))
  const serial = fc.nat(Number.MAX_SAFE_INTEGER)
  const plain = {
    serial,
    idempotencyKey: fc.option(fc.string({ unit: 'binary', maxLength: 20 }), { nil: undefined }),
    checks: fc.constant([]),
    ranges: fc.constant([]),
    ops: fc.array(
      fc.oneof(
        fc.record({ type: fc.constant('put' as const), key: blob, value: blob }),
        fc.record({ type: fc.constant('delete' as const), key: blob }),
      ),
      { maxLength: 6 },
    ),
  }
  const checks = fc.array(fc.record({ key: blob, at: serial.map(timestamp) }), { maxLength: 4 })
  const conditional = fc.record({
    ...plain,
    checks,
    ranges: fc.array(
      fc.record({
        from: fc.option(blob, { nil: undefined }),
        to: fc.option(blob, { nil: undefined }),
        at: serial.map(timestamp),
        count: fc.nat(),
      }),
      { maxLength: 3 },
    ),
  })
  const phaseId = fc.string({ minLength: 1, maxLength: 256 })
  const prepared = fc.record({ type: fc.constant('prepare' as const), id: phaseId, holdMs: serial })
  const committed = phaseId.map(one => ({ type: 'decide' as const, id: one, decision: 'committed' as const }))
  const writes: fc.Arbitrary<Command> = fc.record({
    type: fc.constant('writes' as const),
    session: id,
    floor: serial,
    writes: fc.oneof(
      conditional.map(one => [one]),
      fc.record({ ...plain, idempotencyKey: fc.constant(undefined), checks, phase: prepared }).map(one => [one]),
      fc.record({ ...plain, idempotencyKey: fc.constant(undefined), phase: committed }).map(one => [one]),
      fc.array(fc.record({ ...plain, checks }), { minLength: 1, maxLength: 4 }),
    ),
  })
  const command: fc.Arbitrary<Command> = fc.oneof(
    writes,
    fc.record({ type: fc.constant('openSession' as const), session: id }),
    fc.record({ type: fc.constant('dissolve' as const), into: id.map(clusterId) }),
  )

  it('gives back what it was given', () => {
    fc.assert(
      fc.property(command, serial, serial, (one, at, wallMs) => {
        const header = { at: timestamp(at), wallMs }
        expect(decodeCommand(stampBody(header, encodeBody(one)))).toEqual({ ok: true, value: { header, command: one } })
      }),
    )
  })

  it('takes a write that is validated in steps only where it is alone', () => {
    const check = { key: bytes(7), at: timestamp(0) }
    const range = { from: bytes(1), to: undefined, at: timestamp(1), count: 0 }
    const few = write(1, 7, 1, { checks: new Array(16).fill(check) })
    expect(decodeBody(encodeBody(together(few, write(2, 8, 1), few)))).toMatchObject({ ok: true })
    for (const one of [
      write(1, 7, 1, { checks: new Array(17).fill(check) }),
      write(1, 7, 1, { checks: [check], ranges: [range] }),
    ]) {
      expect(decodeBody(encodeBody(together(one)))).toMatchObject({ ok: true })
      expect(decodeBody(encodeBody(together(one, write(2, 8, 1))))).toMatchObject({ ok: false })
      expect(decodeBody(encodeBody(together(write(2, 8, 1), one)))).toMatchObject({ ok: false })
    }
    expect(decodeBody(encodeBody(together()))).toMatchObject({ ok: false })
  })

  it('reads an entry of format 1, which holds one write', () => {
    const found = new ByteWriter(64)
      .u8(1)
      .varint(5)
      .varint(9)
      .u8(2)
      .id128(session)
      .varint(3)
      .varint(2)
      .u8(1)
      .text('once')
    found.varint(1).bytes(bytes(7)).varint(4).varint(1).u8(0).bytes(bytes(7)).bytes(bytes(1))
    const checks = [{ key: bytes(7), at: timestamp(4) }]
    const one = write(3, 7, 1, { idempotencyKey: 'once', checks })
    const command = { type: 'writes', session, floor: 2, writes: [one] }
    expect(decodeCommand(found.finish())).toEqual({ ok: true, value: { header: { at: 5, wallMs: 9 }, command } })
  })

  it('is total: cut, flipped and random bytes give a value or a typed error', () => {
    fc.assert(
      fc.property(command, fc.nat(), fc.integer({ min: 0, max: 255 }), blob, (one, place, value, noise) => {
        const body = encodeBody(one)
        const flipped = body.slice()
        flipped[place % body.length] = value
        for (const input of [flipped, body.subarray(0, place % body.length), noise]) {
          const result = decodeBody(input)
          if (!result.ok) expect(result.error.code).toBe('CORRUPT')
        }
      }),
      { numRuns: 2000 },
    )
  })
})
