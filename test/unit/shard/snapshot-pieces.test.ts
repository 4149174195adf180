/** A state on its way: what its source sends, piece by piece, is bounded, and is what its sink has in the end. */
import { describe, expect, it } from 'vitest'
import { World } from '../../../platform/simulation/world.ts'
import { ByteWriter } from '../../../src/base/bytes.ts'
import { crc32c } from '../../../src/base/checksum.ts'
import { clusterId, index, type PeerId, peerId, term, timestamp } from '../../../src/base/ids.ts'
import { encodeNote } from '../../../src/shard/apply-note.ts'
import { type ReceivedSnapshot, SnapshotSink } from '../../../src/shard/snapshot-sink.ts'
import { SnapshotSource } from '../../../src/shard/snapshot-source.ts'
import { type SnapshotAsk, type SnapshotPiece, stillNeeded } from '../../../src/shard/snapshot-wire.ts'
import type { Change } from '../../../src/storage/engine.ts'
import { MemoryEngine } from '../../../src/storage/memory-engine.ts'
import { configurationOf } from '../raft/model-node.ts'

const pieceBytesMax = 1000
const [here, there] = ['1', '2'].map(digit => peerId(digit.repeat(32))) as [PeerId, PeerId]
const rowBytes = 60
const cluster = clusterId('c'.repeat(32))

/** As `mvcc/versioned.ts` has it. */
function stored(length: number): Uint8Array {
  const value = new Uint8Array(length)
  value[0] = 1
  return value
}

const rowsOf = (...keys: number[]): Uint8Array => {
  const writer = new ByteWriter(64)
  for (const key of keys) writer.bytes(Uint8Array.of(key)).bytes(stored(20))
  return writer.finish()
}
const other = rowsOf(9)

/** At least so many bytes, and not many more. */
function noteOf(atLeast: number, of = cluster, applied = 7): Uint8Array {
  for (let length = 0; ; length++) {
    const keys = length === 0 ? [] : [['k'.repeat(length), { type: 'stale' }] as const]
    const note = encodeNote({
      cluster: of,
      applied: index(applied),
      timestamp: timestamp(9),
      everWritten: true,
      gaveWay: false,
      fingerprint: 1,
      sessions: { sessions: [], keys },
      idle: { behind: index(0), writes: [] },
      prepared: { kept: [], decided: [] },
    })
    if (note.length >= atLeast) return note
    length += Math.max(0, Math.floor((atLeast - note.length) / 2) - 1)
  }
}

interface Sent {
  readonly pieces: readonly SnapshotPiece[]
  readonly sent: Uint8Array
  readonly note: Uint8Array | undefined
  readonly keys: number
}

function travel(noteBytes: number, rows: number): Sent {
  const world = new World(noteBytes + rows)
  const { platform, directory } = world.process('p')
  const { clock } = platform
  const engine = new MemoryEngine()
  const changes = Array.from({ length: rows }, (_, i): Change => {
    return { key: Uint8Array.of(1, i >> 8, i & 0xff), value: stored(rowBytes) }
  })
  engine.update(
    () => ({ changes, result: undefined }),
    index(7),
    () => {},
  )
  const note = noteOf(noteBytes)
  const pieces: SnapshotPiece[] = []
  let received: ReceivedSnapshot | undefined
  const onFatal = (error: unknown): void => {
    throw error
  }
  const source = new SnapshotSource({
    engine,
    clock,
    pieceBytesMax,
    random: () => 9,
    describe: () => ({ base: { index: index(7), term: term(1), configuration: configurationOf([1]) }, note }),
    writing: () => false,
    reaches: () => true,
    overdue: () => false,
    send: (_, piece) => {
      const late = pieces.at(-1)
      pieces.push(piece)
      clock.soon(() => {
        // Once more, and one of another state: neither is what was asked for.
        if (late !== undefined) sink.arrived(late)
        if (piece.after !== undefined) sink.arrived({ ...piece, snapshot: 8, rows: other, crc: crc32c(other) })
        sink.arrived(piece)
      })
    },
    onFatal,
  })
  const sink: SnapshotSink = new SnapshotSink({
    clock,
    directory,
    cluster,
    leader: () => here,
    wants: () => true,
    send: (_, ask) => clock.soon(() => source.asked(there, ask)),
    received: snapshot => {
      received = snapshot
    },
    refused: onFatal,
    onFatal,
  })
  sink.needed()
  expect(world.runUntil(() => received !== undefined, 60_000)).toBe(true)
  let keys = 0
  let ended = false
  const next = (): void =>
    received?.next(read => {
      if (!read.ok) throw read.error
      keys += read.value?.length ?? 0
      if (read.value === undefined) ended = true
      else clock.soon(next)
    })
  next()
  expect(world.runUntil(() => ended, 60_000)).toBe(true)
  return { pieces, sent: note, note: received === undefined ? undefined : encodeNote(received.note), keys }
}

describe('a state on its way', () => {
  for (const noteBytes of [10, pieceBytesMax - 1, pieceBytesMax, pieceBytesMax + 1, 10 * pieceBytesMax + 7]) {
    for (const rows of [0, 1, 100]) {
      it(`of ${noteBytes} bytes beside the keys, and ${rows} keys`, () => {
        const { pieces, sent, note, keys } = travel(noteBytes, rows)
        expect(note).toEqual(sent)
        expect(sent.length - noteBytes).toBeLessThan(100)
        expect(keys).toBe(rows)
        // One row at least comes with the last part of the note.
        for (const piece of pieces)
          expect((piece.note?.length ?? 0) + piece.rows.length).toBeLessThan(pieceBytesMax + 2 * rowBytes)
      })
    }
  }

  it('is asked for later each time by who gets no answer, and soon of another leader', () => {
    const world = new World(1)
    const { platform, directory } = world.process('p')
    const { clock } = platform
    let leader = here
    const asked: PeerId[] = []
    const sink = new SnapshotSink({
      clock,
      directory,
      cluster,
      leader: () => leader,
      wants: () => true,
      send: to => asked.push(to),
      received: () => {},
      refused: () => {},
      onFatal: () => {},
    })
    const tick = (): void => {
      sink.tick()
      clock.after(50, tick)
    }
    sink.needed()
    tick()
    world.run(60_000)
    expect(asked.length).toBeGreaterThan(4)
    expect(asked.length).toBeLessThan(8)
    leader = there
    world.run(2100)
    expect(asked.at(-1)).toBe(there)
  })

  it('is asked for at once over a new link, and when there is a leader again', () => {
    const world = new World(2)
    const { sink, asks, state } = sinkOf(world)
    sink.needed()
    expect(asks).toHaveLength(1)
    sink.linked(there)
    expect(asks).toHaveLength(1)
    sink.linked(here)
    expect(asks).toHaveLength(2)
    state.leader = undefined
    world.run(5000)
    expect(asks).toHaveLength(2)
    state.leader = there
    world.run(60)
    expect(asks).toHaveLength(3)
    // Who does not need a state asks for none.
    sink.end()
    sink.linked(there)
    expect(asks).toHaveLength(3)
  })
})

const at = { index: index(7), term: term(1), configuration: configurationOf([1]) }

function sourceOf(world: World) {
  const { clock } = world.process('p').platform
  const sent: SnapshotPiece[] = []
  const engine = new MemoryEngine()
  const changes = Array.from({ length: 50 }, (_, i): Change => ({ key: Uint8Array.of(1, i), value: stored(rowBytes) }))
  engine.update(
    () => ({ changes, result: undefined }),
    index(7),
    () => {},
  )
  const state = { logs: 0, number: 8, writing: false }
  const source: SnapshotSource = new SnapshotSource({
    engine,
    clock,
    pieceBytesMax,
    random: () => ++state.number,
    describe: () => ({ base: at, note: noteOf(100) }),
    writing: () => state.writing,
    reaches: () => true,
    overdue: (_, times) => state.logs > times,
    send: (_, piece) => sent.push(piece),
    onFatal: error => {
      throw error
    },
  })
  const tick = (): void => {
    source.tick()
    clock.after(50, tick)
  }
  tick()
  return { source, sent, state }
}

function sinkOf(world: World) {
  const { platform, directory } = world.process('p')
  const { clock } = platform
  const asks: SnapshotAsk[] = []
  const received: ReceivedSnapshot[] = []
  const refused: string[] = []
  const state: { leader: PeerId | undefined } = { leader: here }
  const sink = new SnapshotSink({
    clock,
    directory,
    cluster,
    leader: () => state.leader,
    wants: () => true,
    send: (_, ask) => asks.push(ask),
    received: snapshot => received.push(snapshot),
    refused: problem => refused.push(problem),
    onFatal: error => {
      throw error
    },
  })
  const tick = (): void => {
    sink.tick()
    clock.after(50, tick)
  }
  tick()
  return { sink, asks, received, refused, state }
}

const pieceWith = (rows: Uint8Array, more: Partial<SnapshotPiece> = {}): SnapshotPiece => {
  return { snapshot: 3, base: at, after: undefined, last: true, note: noteOf(0), rows, crc: crc32c(rows), ...more }
}

describe('a state that is held', () => {
  it('stays as long as its receiver takes it over, and not much longer', () => {
    const world = new World(3)
    const { source, sent } = sourceOf(world)
    const { sink, asks, received } = sinkOf(world)
    const { clock } = world.process('p').platform
    const carry = (): void => {
      for (const ask of asks.splice(0)) source.asked(there, ask)
      for (const piece of sent.splice(0)) sink.arrived(piece)
      clock.after(5, carry)
    }
    carry()
    sink.needed()
    expect(world.runUntil(() => received.length > 0, 10_000)).toBe(true)
    // It takes two minutes over it.
    for (let second = 0; second < 120; second++) {
      world.run(1000)
      expect(source.holds?.index, `second ${second}`).toBe(7)
    }
    sink.end()
    world.run(20_000)
    expect(source.holds).toBeUndefined()
    // A sign of life for a state that is gone brings no other one.
    source.asked(there, stillNeeded(9))
    world.run(100)
    expect(source.holds).toBeUndefined()
    expect(sent).toEqual([])
  })

  it('comes half of the time at most while clients write, and without a pause while they do not', () => {
    for (const writing of [true, false]) {
      const world = new World(5)
      const { source, sent, state } = sourceOf(world)
      state.writing = writing
      source.asked(there, { snapshot: 0, after: undefined })
      expect(sent).toHaveLength(1)
      /** The piece that was asked for is there after so long. */
      const waitedMs = (wayMs: number): number => {
        world.run(wayMs)
        const before = sent.length
        source.asked(there, { snapshot: sent[0]!.snapshot, after: Uint8Array.of(1, sent.length) })
        const askedMs = world.nowMs
        expect(world.runUntil(() => sent.length > before, 1000)).toBe(true)
        return world.nowMs - askedMs
      }
      for (const wayMs of [10, 40, 100, 2000]) {
        const waited = waitedMs(wayMs)
        const least = writing ? Math.min(100, wayMs) : 0
        expect(waited, `${wayMs} ms`).toBeGreaterThanOrEqual(least)
        // Timers of the simulation are late, as all are.
        expect(waited, `${wayMs} ms`).toBeLessThan(least + 3)
      }
    }
  })

  it('is let go when too much log has come behind it; who asks for it gets another one, from its beginning', () => {
    const world = new World(4)
    const { source, sent, state } = sourceOf(world)
    source.asked(there, { snapshot: 0, after: undefined })
    source.asked(there, { snapshot: 9, after: Uint8Array.of(1, 5) })
    expect(sent.map(({ snapshot }) => snapshot)).toEqual([9, 9])
    state.logs = 2
    world.run(200)
    expect(source.holds).toBeUndefined()
    state.logs = 0
    source.asked(there, { snapshot: 9, after: Uint8Array.of(1, 9) })
    expect(sent.at(-1)).toMatchObject({ snapshot: 10, after: undefined })
    expect(sent.at(-1)?.note).toBeDefined()
  })

  it('after one that was let go, the next may hold up twice as much log, sixteen times as much at most, until nobody asks', () => {
    const world = new World(6)
    const { source, sent, state } = sourceOf(world)
    const least = (): number => {
      for (state.logs = 1; state.logs < 20; state.logs++) {
        source.asked(there, { snapshot: 0, after: undefined })
        world.run(100)
        if (source.holds === undefined) return state.logs - 1
      }
      throw new Error('it is never let go')
    }
    expect([1, 2, 3, 4, 5, 6, 7].map(least)).toEqual([1, 2, 4, 8, 16, 16, 16])
    state.logs = 0
    source.asked(there, { snapshot: 0, after: undefined })
    world.run(16_000)
    expect(source.holds).toBeUndefined()
    expect(least()).toBe(1)
    expect(sent.length).toBeGreaterThan(60)
  })
})

describe('what a leader sends that is broken, or an enemy', () => {
  const late = { snapshot: 3, base: at, note: undefined }
  const cases: Record<string, readonly SnapshotPiece[]> = {
    'no note at all': [pieceWith(rowsOf(1), { note: new Uint8Array(0) })],
    'rubbish for a note': [pieceWith(rowsOf(1), { note: new Uint8Array(200).fill(0xee) })],
    'a note that was cut': [pieceWith(rowsOf(1), { note: noteOf(0).subarray(0, 30) })],
    'a note with more behind it': [pieceWith(rowsOf(1), { note: new Uint8Array([...noteOf(0), 1]) })],
    'a note of a newer version': [pieceWith(rowsOf(1), { note: new Uint8Array([99, ...noteOf(0).subarray(1)]) })],
    "another cluster's note": [pieceWith(rowsOf(1), { note: noteOf(0, clusterId('d'.repeat(32))) })],
    'a note of another entry': [pieceWith(rowsOf(1), { note: noteOf(0, cluster, 8) })],
    'a base without voters': [pieceWith(rowsOf(1), { base: { ...at, configuration: configurationOf([]) } })],
    'rows that are cut': [pieceWith(rowsOf(1, 2).subarray(0, 30))],
    'a row that stands before the first key': [pieceWith(rowsOf(0))],
    'rows out of order': [pieceWith(rowsOf(2, 1))],
    'a row twice': [pieceWith(rowsOf(2, 2))],
    'a key that is too long': [
      pieceWith(new ByteWriter(70_000).bytes(new Uint8Array(65_536).fill(1)).bytes(stored(9)).finish()),
    ],
    'a value that is nothing stored': [
      pieceWith(new ByteWriter(64).bytes(Uint8Array.of(1)).bytes(new Uint8Array(20)).finish()),
    ],
    'pieces that lead nowhere': [
      pieceWith(rowsOf(1), { last: false }),
      pieceWith(new Uint8Array(0), { ...late, after: Uint8Array.of(1), last: false }),
    ],
    'another base in the middle': [
      pieceWith(rowsOf(1), { last: false }),
      pieceWith(rowsOf(2), { ...late, after: Uint8Array.of(1), base: { ...at, index: index(9) } }),
    ],
    'rows before those that came': [
      pieceWith(rowsOf(1, 5), { last: false }),
      pieceWith(rowsOf(3), { ...late, after: Uint8Array.of(5) }),
    ],
  }
  for (const [name, pieces] of Object.entries(cases)) {
    it(`is refused, and asked for again later or of another leader: ${name}`, () => {
      const world = new World(5)
      const { sink, asks, received, refused, state } = sinkOf(world)
      sink.needed()
      for (const piece of pieces) {
        sink.arrived(piece)
        world.run(50)
      }
      expect(refused).toHaveLength(1)
      expect([received, sink.receivedBytes]).toEqual([[], undefined])
      const before = asks.length
      // The leader goes on saying that a state is needed.
      for (let second = 0; second < 25; second++) {
        sink.needed()
        world.run(1000)
      }
      expect(asks.length).toBe(before)
      if (name.length % 2 === 0) state.leader = there
      else world.run(6000)
      sink.needed()
      expect(asks.length).toBe(before + 1)
      sink.arrived(pieceWith(rowsOf(1, 2)))
      world.run(50)
      expect(received).toHaveLength(1)
      expect(refused).toHaveLength(1)
    })
  }
})
