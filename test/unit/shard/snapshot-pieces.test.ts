/** A state on its way: what its source sends, piece by piece, is bounded, and is what its sink has in the end. */
import { describe, expect, it } from 'vitest'
import { World } from '../../../platform/simulation/world.ts'
import { ByteWriter } from '../../../src/base/bytes.ts'
import { crc32c } from '../../../src/base/checksum.ts'
import { index, type PeerId, peerId, term } from '../../../src/base/ids.ts'
import { type ReceivedSnapshot, SnapshotSink } from '../../../src/shard/snapshot-sink.ts'
import { SnapshotSource } from '../../../src/shard/snapshot-source.ts'
import type { SnapshotPiece } from '../../../src/shard/snapshot-wire.ts'
import type { Change } from '../../../src/storage/engine.ts'
import { MemoryEngine } from '../../../src/storage/memory-engine.ts'
import { configurationOf } from '../raft/model-node.ts'

const pieceBytesMax = 1000
const [here, there] = ['1', '2'].map(digit => peerId(digit.repeat(32))) as [PeerId, PeerId]
const rowBytes = 60
const other = new ByteWriter(64).bytes(Uint8Array.of(9)).bytes(new Uint8Array(20)).finish()

interface Sent {
  readonly pieces: readonly SnapshotPiece[]
  readonly note: Uint8Array
  readonly keys: number
}

function travel(noteBytes: number, rows: number): Sent {
  const world = new World(noteBytes + rows)
  const { platform, directory } = world.process('p')
  const { clock } = platform
  const engine = new MemoryEngine()
  const changes = Array.from({ length: rows }, (_, i): Change => {
    return { key: Uint8Array.of(1, i >> 8, i & 0xff), value: new Uint8Array(rowBytes) }
  })
  engine.update(
    () => ({ changes, result: undefined }),
    index(7),
    () => {},
  )
  const note = Uint8Array.from({ length: noteBytes }, (_, i) => i)
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
    reaches: () => true,
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
    leader: () => here,
    wants: () => true,
    send: (_, ask) => clock.soon(() => source.asked(there, ask)),
    received: snapshot => {
      received = snapshot
    },
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
  return { pieces, note: received?.note ?? new Uint8Array(0), keys }
}

describe('a state on its way', () => {
  for (const noteBytes of [10, pieceBytesMax - 1, pieceBytesMax, pieceBytesMax + 1, 10 * pieceBytesMax + 7]) {
    for (const rows of [0, 1, 100]) {
      it(`of ${noteBytes} bytes beside the keys, and ${rows} keys`, () => {
        const { pieces, note, keys } = travel(noteBytes, rows)
        expect(note).toEqual(Uint8Array.from({ length: noteBytes }, (_, i) => i))
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
      leader: () => leader,
      wants: () => true,
      send: to => asked.push(to),
      received: () => {},
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
})
