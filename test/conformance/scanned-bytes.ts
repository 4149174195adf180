/** A7 for the byte arrays of a scan, or of a `getMany`, that gives all at once: to change or transfer them harms no other read, and to keep one keeps no more than a page. */
import { expect } from 'vitest'
import type { Database, Op } from '../../src/database/types.ts'

export async function scannedBytes(db: Database): Promise<void> {
  const bytes = (i: number, length = 20) => new Uint8Array(length).fill(i)
  const keyOf = (i: number) => Uint8Array.of(2 + (i >> 7), 2 + (i & 127))
  await db.batch(Array.from({ length: 600 }, (_, i): Op => ({ type: 'put', key: keyOf(i), value: bytes(i) })))
  await db.put(keyOf(1000), bytes(7, 5000))
  const others = db.scan({ start: keyOf(300) })[Symbol.asyncIterator]()
  expect((await others.next()).value?.value).toEqual(bytes(300))
  const entries = await db.scan<Uint8Array>().toArray()
  const first = entries[0]!.value
  first.fill(99)
  const [key] = entries[0]!.key as [Uint8Array]
  key.fill(99)
  expect(entries[1]).toMatchObject({ key: [keyOf(1)], value: bytes(1) })
  expect(entries[600]!.value.buffer.byteLength).toBe(5000)
  structuredClone(first, { transfer: [first.buffer] })
  expect(first.length).toBe(0)
  expect(entries[599]!.value).toEqual(bytes(599))
  const many = await db.getMany<Uint8Array>([keyOf(310), keyOf(311), keyOf(1000)])
  expect(many[2]!.buffer.byteLength).toBe(5000)
  const alone = await db.getMany<Uint8Array>([keyOf(312)])
  expect(alone[0]!.buffer.byteLength).toBe(20)
  structuredClone(many[0], { transfer: [many[0]!.buffer] })
  alone[0]!.fill(99)
  expect([many[0]!.length, many[2]]).toEqual([0, bytes(7, 5000)])
  for (let i = 301; i < 600; i++) expect((await others.next()).value?.value).toEqual(bytes(i))
  await others.return?.(undefined)
  expect([await db.get(keyOf(0)), await db.get(keyOf(1))]).toEqual([bytes(0), bytes(1)])
  expect((await db.scan().toArray()).map(({ value }) => value).slice(0, 600)).toEqual(
    Array.from({ length: 600 }, (_, i) => bytes(i)),
  )
  // A large one beside it is not kept by who keeps a small one.
  await db.put(keyOf(1001), bytes(8, 3_000_000))
  const [small, large] = await db.getMany<Uint8Array>([keyOf(2), keyOf(1001)])
  const [scanned] = await db.scan<Uint8Array>({ start: keyOf(1000) }).toArray()
  expect([small, large!.length, scanned!.value]).toEqual([bytes(2), 3_000_000, bytes(7, 5000)])
  expect(large!.every(byte => byte === 8)).toBe(true)
  const [part] = scanned!.key as [Uint8Array]
  for (const { buffer } of [small!, part]) expect(buffer.byteLength).toBeLessThan(2_500_000)
}
